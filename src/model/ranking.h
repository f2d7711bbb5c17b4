/* The k best labels of a row of scores. */
#ifndef CASEMIX_MODEL_RANKING_H
#define CASEMIX_MODEL_RANKING_H

#include <stddef.h>
#include <stdint.h>

struct ranked {
    int32_t label;
    float p;
};

/* The k largest of p[count], largest first, ties by the smaller label; k <= count. `top` has room for k. */
void ranking_top(const float *p, size_t count, struct ranked *top, size_t k);

#endif
