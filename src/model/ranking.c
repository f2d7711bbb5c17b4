/* The k best labels by insertion into a short sorted list: k is small beside the number of labels. */
#include "model/ranking.h"

void ranking_top(const float *p, size_t count, struct ranked *top, size_t k) {
    size_t held = 0;
    if (k == 0) return;
    for (size_t i = 0; i < count; i++) {
        if (held == k && p[i] <= top[k - 1].p) continue;
        size_t place = held < k ? held++ : k - 1;
        for (; place > 0 && top[place - 1].p < p[i]; place--) top[place] = top[place - 1];
        top[place] = (struct ranked){(int32_t)i, p[i]};
    }
}
