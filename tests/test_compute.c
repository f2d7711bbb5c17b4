/* Choosing kernels: every way gives the product, the measurement is kept and read back, damage and unwritable places
 * fall back to what needs no measurement. */
#include "base/error.h"
#include "base/rng.h"
#include "folder.h"
#include "tensor/compute.h"
#include "tensor/gemm.h"
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { O = 300, I = 130, T = 203 };

static struct rng rng;

static float *noise(int64_t count) {
    float *values = malloc((size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; i++) values[i] = (float)rng_normal(&rng);
    return values;
}

static void choose(enum product_way way) {
    struct compute_choice choice = {.few_rows = {16, 16}};
    for (int shape = 0; shape < SHAPE_CLASSES; shape++) {
        for (int kind = 0; kind < 2; kind++) choice.way[shape][kind] = way;
    }
    compute_set(&choice);
}

static double relative(const float *got, const float *want, int64_t count) {
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        difference += pow((double)got[i] - (double)want[i], 2);
        norm += pow((double)want[i], 2);
    }
    return sqrt(difference / norm);
}

static void every_way_gives_the_product_in_its_precision(void **state) {
    (void)state;
    rng_seed(&rng, 1);
    float *values = noise(O * I), *x = noise(T * I), *want = malloc(sizeof(float) * T * O),
          *got = malloc(sizeof(float) * T * O), *panel = malloc(sizeof(float) * 512 * 512);
    uint16_t narrow[O * I];
    narrow_bf16(narrow, values, O * I);
    const struct matrix stored[] = {{DTYPE_F32, O, I, values}, {DTYPE_BF16, O, I, narrow}};
    float bias_values[O];
    for (int o = 0; o < O; o++) bias_values[o] = (float)o;
    const struct matrix bias = {DTYPE_F32, 1, O, bias_values};
    for (int kind = 0; kind < 2; kind++) {
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            choose(WAY_SGEMM);
            for (int i = 0; i < T * O; i++) want[i] = got[i] = 0.5f;
            linear_forward(want, x, &stored[kind], &bias, T, accumulate != 0, panel);
            choose(WAY_MATMUL);
            linear_forward(got, x, &stored[kind], &bias, T, accumulate != 0, panel);
            assert_true(relative(got, want, T * O) < 1e-6);
            for (int i = 0; i < T * O; i++) got[i] = 0.5f;
            choose(WAY_BF16);
            linear_forward(got, x, &stored[kind], &bias, T, accumulate != 0, panel);
            const double error = relative(got, want, T * O);
            assert_true(kind == 0 ? error == 0.0 : error > 1e-6 && error < 3e-3);
        }
    }
    compute_start(COMPUTE_F32);
    free(values);
    free(x);
    free(want);
    free(got);
    free(panel);
}

/* The only file below FOLDER/casemix, or an empty string. */
static void find_kept(char *path, size_t capacity) {
    *path = '\0';
    DIR *directory = opendir(folder_path("casemix"));
    if (directory == NULL) return;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] != '.') snprintf(path, capacity, "%s/%s", folder_path("casemix"), entry->d_name);
    }
    closedir(directory);
}

static void a_measurement_is_kept_and_a_damaged_one_is_not_believed(void **state) {
    (void)state;
    char path[1024];
    setenv("XDG_CACHE_HOME", folder_path(""), 1);
    struct compute_choice first;
    compute_measure(&first, 0);
    assert_true(first.measured && first.rates[SHAPE_DEEP][1][WAY_BF16] > 0 && first.few_rates[1][1][1] > 0);
    first.way[SHAPE_WIDE][0] = WAY_MATMUL;
    first.few_rows[1] = 12;
    assert_true(compute_keep(&first));
    find_kept(path, sizeof path);
    compute_start(COMPUTE_AUTO);
    assert_true(compute_current()->measured);
    assert_memory_equal(first.way, compute_current()->way, sizeof first.way);
    assert_memory_equal(first.few_rows, compute_current()->few_rows, sizeof first.few_rows);
    const char *const damages[] = {"", "[]", "{\"f32_small_way\": 7}", "{\"f32_small_way\": \"sgemm\"}",
                                   "{\"f32_small_way\": 2, \"f32_wide_way\": 0, \"f32_deep_way\": 0, "
                                   "\"f32_few_rows\": 16, \"half_small_way\": 0, \"half_wide_way\": 0, "
                                   "\"half_deep_way\": 0, \"half_few_rows\": 16}"};
    for (int d = 0; d < 5; d++) {
        FILE *file = fopen(path, "w");
        fputs(damages[d], file);
        fclose(file);
        compute_start(COMPUTE_AUTO);
        const struct compute_choice *choice = compute_current();
        for (int kind = 0; kind < 2; kind++) {
            assert_in_range(choice->few_rows[kind], 0, 16);
            for (int shape = 0; shape < SHAPE_CLASSES; shape++) assert_in_range(choice->way[shape][kind], 0, 1);
        }
    }
    /* Where it cannot be kept, nothing is measured into use. */
    setenv("XDG_CACHE_HOME", path, 1);
    assert_false(compute_keep(&first));
    compute_start(COMPUTE_AUTO);
    assert_false(compute_current()->measured);
    assert_int_equal(compute_current()->way[SHAPE_WIDE][0], WAY_SGEMM);
    /* A machine too busy to be measured in time. */
    compute_measure(&first, 1e-9);
    assert_false(first.measured);
}

static void bf16_arithmetic_comes_only_by_request(void **state) {
    (void)state;
    compute_start(COMPUTE_BF16);
    assert_int_equal(compute_current()->way[SHAPE_WIDE][1], WAY_BF16);
    assert_int_equal(compute_current()->way[SHAPE_WIDE][0], WAY_SGEMM);
    compute_start(COMPUTE_F32);
    assert_int_equal(compute_current()->way[SHAPE_WIDE][1], WAY_SGEMM);
    struct error error = {0};
    enum compute_type type;
    assert_true(compute_parse("int8", &type, &error) && type == COMPUTE_INT8);
    assert_false(compute_parse("INT8", &type, &error));
    assert_true(error.usage);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_gives_the_product_in_its_precision),
        cmocka_unit_test(a_measurement_is_kept_and_a_damaged_one_is_not_believed),
        cmocka_unit_test(bf16_arithmetic_comes_only_by_request),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
