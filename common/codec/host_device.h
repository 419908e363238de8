// Marks code that CUDA kernels run too, in headers that both compilers include.
#pragma once

// QC2C_HOST_DEVICE: a function that both can call. QC2C_DEVICE: of an algorithm that is a template
// over the warp that runs it (rans_segment_decoder.h); a .cu file compiles it for kernels alone,
// any other file for the host. QC2C_UNROLL: before a loop whose arrays belong in registers.
#ifdef __CUDACC__
#define QC2C_HOST_DEVICE __host__ __device__
#define QC2C_DEVICE __device__
#define QC2C_UNROLL _Pragma("unroll")
#else
#define QC2C_HOST_DEVICE
#define QC2C_DEVICE
#define QC2C_UNROLL
#endif
