/* casemix bench --shape: whole models of a known shape with random weights. */
#ifndef CASEMIX_CLI_BENCH_SHAPE_H
#define CASEMIX_CLI_BENCH_SHAPE_H

#include "cli/bench_report.h"
#include "tensor/compute.h"
#include <stdbool.h>

struct error;

/* Forward, LoRA classification step and decoding of a model of the shape "0.5b", "1.5b" or "7b", in one type of compute
 * or, for COMPUTE_AUTO, in f32, bf16 and int8 as far as they fit into memory. */
bool bench_shape(struct bench *bench, const char *shape, enum compute_type type, struct error *error);

#endif
