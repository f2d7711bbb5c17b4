/* Index introsort as numpy has it: median-of-three quicksort whose larger part waits on a stack, insertion sort for
 * short segments, and heap sort for segments cut too often. Each step is fixed by the wish to leave equal values in the
 * same places. */
#include "base/numpy_sort.h"
#include <stdbool.h>
#include <stddef.h>

enum { SHORT_SEGMENT = 15, STACK_SIZE = 64 };

/* What is sorted: one of the two. The entry points pass constants, so that each gets its own compiled sort. */
struct keys {
    const int64_t *integers;
    const double *reals;
};

#define INLINE static inline __attribute__((always_inline))

INLINE bool less(struct keys keys, int64_t a, int64_t b) {
    if (keys.integers != NULL) return keys.integers[a] < keys.integers[b];
    const double x = keys.reals[a], y = keys.reals[b];
    return x < y || (y != y && x == x);
}

INLINE void swap(int64_t *order, int64_t a, int64_t b) {
    const int64_t entry = order[a];
    order[a] = order[b];
    order[b] = entry;
}

/* Puts `entry` into the heap a[1 … count] from place i downwards; a[k] is segment[k - 1]. */
INLINE void heap_sift(struct keys keys, int64_t *segment, int64_t count, int64_t i, int64_t entry) {
    for (int64_t j = 2 * i; j <= count; j = 2 * i) {
        if (j < count && less(keys, segment[j - 1], segment[j])) j++;
        if (!less(keys, entry, segment[j - 1])) break;
        segment[i - 1] = segment[j - 1];
        i = j;
    }
    segment[i - 1] = entry;
}

INLINE void heap_sort(struct keys keys, int64_t *segment, int64_t count) {
    for (int64_t i = count / 2; i > 0; i--) heap_sift(keys, segment, count, i, segment[i - 1]);
    while (count > 1) {
        const int64_t entry = segment[count - 1];
        segment[count - 1] = segment[0];
        heap_sift(keys, segment, --count, 1, entry);
    }
}

INLINE void insertion_sort(struct keys keys, int64_t *order, int64_t low, int64_t high) {
    for (int64_t i = low + 1; i <= high; i++) {
        const int64_t entry = order[i];
        int64_t place = i;
        for (; place > low && less(keys, entry, order[place - 1]); place--) order[place] = order[place - 1];
        order[place] = entry;
    }
}

/* Cuts low..high at the place that is returned: nothing before it is larger, nothing behind it smaller. */
INLINE int64_t partition(struct keys keys, int64_t *order, int64_t low, int64_t high) {
    const int64_t middle = low + (high - low) / 2;
    if (less(keys, order[middle], order[low])) swap(order, middle, low);
    if (less(keys, order[high], order[middle])) swap(order, high, middle);
    if (less(keys, order[middle], order[low])) swap(order, middle, low);
    const int64_t pivot = order[middle];
    int64_t i = low, j = high - 1;
    swap(order, middle, j);
    for (;;) {
        do i++;
        while (less(keys, order[i], pivot));
        do j--;
        while (less(keys, pivot, order[j]));
        if (i >= j) break;
        swap(order, i, j);
    }
    swap(order, i, high - 1);
    return i;
}

INLINE void argsort(struct keys keys, int64_t *order, int64_t count) {
    struct {
        int64_t low, high;
        int depth;
    } stack[STACK_SIZE], segment = {0, count - 1, 0};
    int waiting = 0;
    for (int64_t i = 0; i < count; i++) order[i] = i;
    for (int64_t n = count; n > 1; n >>= 1) segment.depth += 2;
    for (;;) {
        if (segment.depth < 0) {
            heap_sort(keys, order + segment.low, segment.high - segment.low + 1);
        } else {
            while (segment.high - segment.low > SHORT_SEGMENT) {
                const int64_t cut = partition(keys, order, segment.low, segment.high);
                segment.depth--;
                stack[waiting] = segment;
                if (cut - segment.low < segment.high - cut) {
                    stack[waiting++].low = cut + 1;
                    segment.high = cut - 1;
                } else {
                    stack[waiting++].high = cut - 1;
                    segment.low = cut + 1;
                }
            }
            insertion_sort(keys, order, segment.low, segment.high);
        }
        if (waiting == 0) return;
        segment = stack[--waiting];
    }
}

void numpy_argsort_int64(int64_t *order, const int64_t *values, int64_t count) {
    argsort((struct keys){values, NULL}, order, count);
}

void numpy_argsort_double(int64_t *order, const double *values, int64_t count) {
    argsort((struct keys){NULL, values}, order, count);
}
