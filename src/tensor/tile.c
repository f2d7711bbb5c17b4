/* The tile product by vectors as wide as the processor's registers: a compiler that has to split wider ones keeps the
 * sums in memory. */
#include "tensor/tile.h"
#include "tensor/lane_sums.h"
#include "tensor/processor.h"

#define SET(name) plain_##name
#define TARGET
#define VECTOR four_lanes
#define VECTOR_LANES 4
#define WIDE 2
#define TALL 8
#include "tensor/tile_kernel.h"

#define SET(name) avx2_##name
#define TARGET TARGET_AVX2
#define VECTOR eight_lanes
#define VECTOR_LANES 8
#define WIDE 2
#define TALL 8
#include "tensor/tile_kernel.h"

#define SET(name) avx512_##name
#define TARGET TARGET_AVX512
#define VECTOR sixteen_lanes
#define VECTOR_LANES 16
#define WIDE 4
#define TALL 4
#include "tensor/tile_kernel.h"

void tile_product(float *C, int64_t ldc, struct operand A, const float *B, int64_t ldb, int64_t rows, int64_t depth,
                  int64_t cols) {
    switch (processor_instructions()) {
    case INSTRUCTIONS_PLAIN:
        plain_product(C, ldc, A, B, ldb, rows, depth, cols);
        break;
    case INSTRUCTIONS_AVX2:
        avx2_product(C, ldc, A, B, ldb, rows, depth, cols);
        break;
    case INSTRUCTIONS_AVX512:
    case INSTRUCTIONS_VNNI:
        avx512_product(C, ldc, A, B, ldb, rows, depth, cols);
        break;
    }
}
