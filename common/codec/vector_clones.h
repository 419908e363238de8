// Marks a function to be compiled twice, for AVX2 and for any x86-64, and chosen when the program
// is loaded. Only the width of the vectors differs: no fused multiply-add, so the bits are the
// same.
#pragma once

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define QC2C_VECTOR_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define QC2C_VECTOR_CLONES
#endif
