// Marks a function that CUDA kernels call too, in headers that both compilers include.
#pragma once

#ifdef __CUDACC__
#define QC2C_HOST_DEVICE __host__ __device__
#else
#define QC2C_HOST_DEVICE
#endif
