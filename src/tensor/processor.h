/* What the processor can do, asked at run time, so that one portable build runs the fast kernels where they exist. */
#ifndef CASEMIX_TENSOR_PROCESSOR_H
#define CASEMIX_TENSOR_PROCESSOR_H

/* Rising: each has all that stands before it. */
enum instructions {
    INSTRUCTIONS_PLAIN,  /* what the build was made for, as compiler vectors */
    INSTRUCTIONS_AVX2,   /* and FMA */
    INSTRUCTIONS_AVX512, /* F, BW, DQ, VL */
    INSTRUCTIONS_VNNI    /* AVX-512 with u8 x s8 dot products */
};

/* The best set that processor, operating system and compiler share; ONEDNN_MAX_CPU_ISA, oneDNN's own variable, bounds
 * it too. */
enum instructions processor_instructions(void);

/* Holds kernels to at most this set, so that tests can compare them. INSTRUCTIONS_VNNI: no limit. */
void processor_limit(enum instructions limit);

/* Model name from /proc/cpuinfo ("unknown" elsewhere); static. */
const char *processor_name(void);

/* Marks a function compiled for a set whatever the build is for. Only called behind processor_instructions. */
#if defined(__x86_64__)
#define TARGET_AVX2 __attribute__((target("avx2,fma,f16c")))
#define TARGET_AVX512 __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")))
#define TARGET_VNNI __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define TARGET_BF16 __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#else
#define TARGET_AVX2
#define TARGET_AVX512
#define TARGET_VNNI
#define TARGET_BF16
#endif

#endif
