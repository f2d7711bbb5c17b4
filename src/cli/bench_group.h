/* casemix bench --group: what sharing a prompt is worth, to sampling and to training. */
#ifndef CASEMIX_CLI_BENCH_GROUP_H
#define CASEMIX_CLI_BENCH_GROUP_H

#include "cli/bench_report.h"
#include "tensor/compute.h"
#include <stdbool.h>

struct error;

/* 8 answers of 300 tokens to one prompt of 1,500, a model of the shape "0.5b", "1.5b" or "7b" in one type of compute
 * (COMPUTE_AUTO: int8). `quick`: two of the eight runs one by one stand for all. */
bool bench_group(struct bench *bench, const char *shape, enum compute_type type, bool quick, struct error *error);

#endif
