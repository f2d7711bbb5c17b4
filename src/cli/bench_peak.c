/* Peaks: each thread runs chains of independent multiply-adds that never leave the registers. Written in assembler,
 * since a compiler may spill or fold them. */
#include "cli/bench_peak.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/threads.h"
#include <stdint.h>
#include <stdlib.h>

enum { ROUNDS = 2000000, REPEATS = 5 };

#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))

/* Applies X to twelve registers. */
#define TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define CLOBBERED                                                                                              \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", \
        "xmm13", "cc"

/* ROUNDS rounds of one instruction on twelve registers, which start at zero as do its operands: no denormals, no
 * overflow. */
#define REGISTER_LOOP(WIDTH, INSTRUCTION)                                                                        \
    static void INSTRUCTION##_loop(void) {                                                                       \
        int64_t rounds = ROUNDS;                                                                                 \
        __asm__ volatile(TWELVE(ZERO) ZERO(12)                                                                   \
                             ZERO(13) ".balign 32\n1:\n" TWELVE(STEP_##WIDTH##_##INSTRUCTION) "dec %0\njnz 1b\n" \
                         : "+r"(rounds)                                                                          \
                         :                                                                                       \
                         : CLOBBERED);                                                                           \
    }
#define ZERO(i) "vxorps %%xmm" #i ", %%xmm" #i ", %%xmm" #i "\n"
#define STEP_512_vfmadd231ps(i) "vfmadd231ps %%zmm12, %%zmm13, %%zmm" #i "\n"
#define STEP_256_vfmadd231ps(i) "vfmadd231ps %%ymm12, %%ymm13, %%ymm" #i "\n"
#define STEP_512_vdpbf16ps(i) "vdpbf16ps %%zmm12, %%zmm13, %%zmm" #i "\n"
#define STEP_512_vpdpbusd(i) "vpdpbusd %%zmm12, %%zmm13, %%zmm" #i "\n"

#if defined(__AVX512F__)
enum { F32_LANES = 16 };
REGISTER_LOOP(512, vfmadd231ps)
const char *peak_f32_instruction(void) {
    return "vfmadd231ps, 512 bits";
}
#else
enum { F32_LANES = 8 };
REGISTER_LOOP(256, vfmadd231ps)
const char *peak_f32_instruction(void) {
    return "vfmadd231ps, 256 bits";
}
#endif
#if defined(__AVX512BF16__)
REGISTER_LOOP(512, vdpbf16ps)
#endif
#if defined(__AVX512VNNI__)
REGISTER_LOOP(512, vpdpbusd)
#endif

/* Best rate of a few tries: a peak is what the machine can do, not what it did while something else ran. */
static double loop_rate(void (*loop)(void), double operations_a_round) {
    double best = 0;
    for (int r = 0; r < REPEATS; r++) {
        const double start = time_now();
#pragma omp parallel
        loop();
        const double rate = operations_a_round * ROUNDS * threads_count() / (time_now() - start);
        if (rate > best) best = rate;
    }
    return best;
}

double peak_f32(void) {
    return loop_rate(vfmadd231ps_loop, 12.0 * F32_LANES * 2);
}

#else

/* Without FMA: multiplies and adds on compiler vectors, held in registers by the compiler as it can. */
typedef float four __attribute__((vector_size(16)));

const char *peak_f32_instruction(void) {
    return "multiply and add, 128 bits";
}

double peak_f32(void) {
    double best = 0;
    for (int r = 0; r < REPEATS; r++) {
        const double start = time_now();
#pragma omp parallel
        {
            four a = {1, 1, 1, 1}, b = a, c = a, d = a, e = a, f = a, g = a, h = a;
            const four scale = {0.999f, 0.999f, 0.999f, 0.999f}, shift = {1e-3f, 1e-3f, 1e-3f, 1e-3f};
            for (int i = 0; i < ROUNDS; i++) {
                a = a * scale + shift;
                b = b * scale + shift;
                c = c * scale + shift;
                d = d * scale + shift;
                e = e * scale + shift;
                f = f * scale + shift;
                g = g * scale + shift;
                h = h * scale + shift;
            }
            volatile float sink = (a + b + c + d + e + f + g + h)[0];
            (void)sink;
        }
        const double rate = 8.0 * 4 * 2 * ROUNDS * threads_count() / (time_now() - start);
        if (rate > best) best = rate;
    }
    return best;
}

#endif

double peak_bf16(void) {
#if defined(__AVX512BF16__)
    return loop_rate(vdpbf16ps_loop, 12.0 * 64);
#else
    return 0;
#endif
}

double peak_int8(void) {
#if defined(__AVX512VNNI__)
    return loop_rate(vpdpbusd_loop, 12.0 * 128);
#else
    return 0;
#endif
}

double peak_read(size_t bytes) {
    const int64_t count = (int64_t)(bytes / sizeof(float));
    float *buffer = memory_alloc(bytes, 1);
    if (buffer == NULL) return 0;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) buffer[i] = 1;
    double best = 0;
    for (int r = 0; r < REPEATS; r++) {
        float sum = 0;
        const double start = time_now();
#pragma omp parallel for simd schedule(static) reduction(+ : sum)
        for (int64_t i = 0; i < count; i++) sum += buffer[i];
        volatile float sink = sum;
        (void)sink;
        const double rate = (double)bytes / (time_now() - start);
        if (rate > best) best = rate;
    }
    memory_free(buffer);
    return best;
}

static int compare_times(const void *a, const void *b) {
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

double time_median(void (*function)(void *context), void *context, int repeats) {
    double times[64];
    if (repeats > 64) repeats = 64;
    function(context);
    for (int r = 0; r < repeats; r++) {
        const double start = time_now();
        function(context);
        times[r] = time_now() - start;
    }
    qsort(times, (size_t)repeats, sizeof *times, compare_times);
    return times[repeats / 2];
}
