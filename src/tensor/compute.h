/* Which kernels multiply: chosen for this machine by a short measurement, or asked for by name.
 *
 * Processors differ (bf16 instructions run at twice the f32 rate on one and at half of it on another), so nothing is
 * hard-coded. What `auto` may choose among gives f32 results; other types of arithmetic only by request. */
#ifndef CASEMIX_TENSOR_COMPUTE_H
#define CASEMIX_TENSOR_COMPUTE_H

#include "tensor/dtype.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct text;

/* --compute. F32: f32 arithmetic with the ways that need no measurement. BF16: products with bf16 weights round their
 * activations to bf16 too, few rows only where the processor has an instruction for it. INT8: for decoder_quantise;
 * nothing here changes. */
enum compute_type { COMPUTE_AUTO, COMPUTE_F32, COMPUTE_BF16, COMPUTE_INT8 };

/* "auto", "f32", "bf16", "int8"; anything else is a usage error. */
bool compute_parse(const char *name, enum compute_type *type, struct error *error);
const char *compute_name(enum compute_type type);

/* Ways of multiplying many rows with a stored weight. */
enum product_way {
    WAY_SGEMM,  /* oneDNN sgemm, weights widened to f32 panels; packs them anew for each product */
    WAY_MATMUL, /* oneDNN matmul on the same f32 values where they lie */
    WAY_BF16,   /* oneDNN matmul on bf16 weights, activations rounded */
    PRODUCT_WAYS
};
const char *product_way_name(enum product_way way);

/* Classes of shapes that are measured apart. */
enum shape_class { SHAPE_SMALL, SHAPE_WIDE, SHAPE_DEEP, SHAPE_CLASSES };
const char *shape_class_name(enum shape_class shape);
enum shape_class shape_class_of(int64_t O, int64_t I);

/* What was chosen, and the rates that it rests on (GFLOP/s; 0: not measured or not possible). */
struct compute_choice {
    enum compute_type type;
    enum product_way way[SHAPE_CLASSES][2]; /* [class][0: f32, 1: f16, bf16 and the panels of int8] */
    double rates[SHAPE_CLASSES][2][PRODUCT_WAYS];
    int64_t few_rows[2];       /* own kernels up to so many rows, else many rows' way; [0: f32, 1: halves] */
    double few_rates[2][2][2]; /* [f32, halves][8, 16 rows][own kernels, way of many rows] */
    bool measured;             /* now or, kept in the cache, earlier */
};

/* Chooses for this process. COMPUTE_AUTO reads the kept measurement of this processor, thread count and version, or
 * measures (for 200 ms at most) and keeps it under $XDG_CACHE_HOME/casemix (~/.cache/casemix). A measurement that
 * cannot be kept is not used: the next run might choose otherwise and give other last bits. Call it before work begins.
 */
void compute_start(enum compute_type type);

/* The current choice; before compute_start the ways that need no measurement. */
const struct compute_choice *compute_current(void);

/* Measures anew: what `casemix bench` shows. With `seconds` over 0 it gives up (measured false, no
 * choice made) after that time: a machine as busy as that would be measured wrongly. */
void compute_measure(struct compute_choice *choice, double seconds);

/* Keeps a measurement for later runs on this machine, as compute_start does; false when there is no place for it. */
bool compute_keep(const struct compute_choice *choice);

/* Puts a choice in force, for measurements and tests. */
void compute_set(const struct compute_choice *choice);

#endif
