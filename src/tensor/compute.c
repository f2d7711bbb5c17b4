/* The measurement behind --compute auto, and the file that keeps it. */
#include "tensor/compute.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/threads.h"
#include "tensor/gemm.h"
#include "tensor/processor.h"
#include "tensor/small_product.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1 };

/* The way must be better by so much to be taken: less is noise, and a different last bit is not worth it. */
#define MARGIN 1.03

#define NO_MEASUREMENT                                         \
    {                                                          \
        .few_rows = { SMALL_PRODUCT_ROWS, SMALL_PRODUCT_ROWS } \
    }

static struct compute_choice current = NO_MEASUREMENT;

static const char *const type_names[] = {"auto", "f32", "bf16", "int8"};

bool compute_parse(const char *name, enum compute_type *type, struct error *error) {
    for (int t = 0; t < 4; t++) {
        if (strcmp(name, type_names[t]) != 0) continue;
        *type = (enum compute_type)t;
        return true;
    }
    return error_usage(error, "--compute takes auto, f32, bf16 or int8, not \"%s\"", name);
}

const char *compute_name(enum compute_type type) {
    return type_names[type];
}

const char *product_way_name(enum product_way way) {
    static const char *const names[] = {"sgemm", "matmul", "bf16"};
    return names[way];
}

const char *shape_class_name(enum shape_class shape) {
    static const char *const names[] = {"small", "wide", "deep"};
    return names[shape];
}

enum shape_class shape_class_of(int64_t O, int64_t I) {
    if (O * I < 1 << 21) return SHAPE_SMALL;
    return I > O ? SHAPE_DEEP : SHAPE_WIDE;
}

const struct compute_choice *compute_current(void) {
    return &current;
}

void compute_set(const struct compute_choice *choice) {
    current = *choice;
}

/* What a measurement works on. */
struct workspace {
    float *x, *y, *panel;
    void *weights;   /* zeros: neither denormals nor NaN in any type */
    double deadline; /* 0: none */
    bool late;
};

/* Shapes that stand for their class. */
static const int64_t shapes[SHAPE_CLASSES][2] = {
    [SHAPE_SMALL] = {896, 896}, [SHAPE_WIDE] = {2560, 896}, [SHAPE_DEEP] = {896, 2560}};
enum { ROWS = 128, LARGEST = 2560 * 896, WIDEST = 2560 };

/* Best GFLOP/s of a few tries of linear_forward under the current choice; the first try, which makes primitives, is not
 * counted. */
static double rate_of(struct workspace *space, enum dtype dtype, int64_t O, int64_t I, int64_t T, int tries) {
    const struct matrix weight = {dtype, O, I, space->weights};
    double best = 0;
    for (int i = 0; i <= tries; i++) {
        const double start = time_now();
        space->late = space->late || (space->deadline > 0 && start > space->deadline);
        if (space->late) return 0;
        linear_forward(space->y, space->x, &weight, NULL, T, false, space->panel);
        const double rate = 2e-9 * (double)(T * O * I) / (time_now() - start);
        if (i > 0 && rate > best) best = rate;
    }
    return best;
}

static void measure_ways(struct compute_choice *choice, struct workspace *space) {
    for (int shape = 0; shape < SHAPE_CLASSES; shape++) {
        for (int halves = 0; halves < 2; halves++) {
            double *rates = choice->rates[shape][halves];
            for (int way = WAY_SGEMM; way < PRODUCT_WAYS; way++) {
                if (way == WAY_BF16 && halves == 0) continue;
                current.way[shape][halves] = (enum product_way)way;
                rates[way] =
                    rate_of(space, halves == 0 ? DTYPE_F32 : DTYPE_BF16, shapes[shape][0], shapes[shape][1], ROWS, 2);
            }
            choice->way[shape][halves] = rates[WAY_MATMUL] > MARGIN * rates[WAY_SGEMM] ? WAY_MATMUL : WAY_SGEMM;
            current.way[shape][halves] = choice->way[shape][halves];
        }
    }
}

static void measure_few_rows(struct compute_choice *choice, struct workspace *space) {
    for (int halves = 0; halves < 2; halves++) {
        choice->few_rows[halves] = SMALL_PRODUCT_ROWS;
        for (int rows = 0; rows < 2; rows++) {
            double *rates = choice->few_rates[halves][rows];
            for (int many = 0; many < 2; many++) {
                current.few_rows[halves] = many == 0 ? SMALL_PRODUCT_ROWS : 0;
                rates[many] = rate_of(space, halves == 0 ? DTYPE_F32 : DTYPE_BF16, 2560, 896, rows == 0 ? 8 : 16, 3);
            }
        }
        const double(*rates)[2] = choice->few_rates[halves];
        if (rates[1][1] > MARGIN * rates[1][0]) choice->few_rows[halves] = 12;
        if (rates[0][1] > MARGIN * rates[0][0]) choice->few_rows[halves] = 4;
        current.few_rows[halves] = choice->few_rows[halves];
    }
}

void compute_measure(struct compute_choice *choice, double seconds) {
    const struct compute_choice before = current;
    const struct matrix largest = {DTYPE_BF16, 896, WIDEST, "" /* only its shape is asked */};
    const size_t panel = (size_t)(linear_panel_size(&largest) * 2);
    struct workspace space = {.x = memory_zero((size_t)ROWS * WIDEST, sizeof(float)),
                              .y = memory_alloc((size_t)ROWS * WIDEST, sizeof(float)),
                              .panel = memory_alloc(panel, sizeof(float)),
                              .weights = memory_zero(LARGEST, sizeof(float)),
                              .deadline = seconds > 0 ? time_now() + seconds : 0};
    *choice = (struct compute_choice)NO_MEASUREMENT;
    if (space.x != NULL && space.y != NULL && space.panel != NULL && space.weights != NULL) {
        current = *choice;
        measure_ways(choice, &space);
        measure_few_rows(choice, &space);
        choice->measured = !space.late;
    }
    if (!choice->measured) *choice = (struct compute_choice)NO_MEASUREMENT;
    memory_free(space.x);
    memory_free(space.y);
    memory_free(space.panel);
    memory_free(space.weights);
    current = before;
}

/* The file that keeps the measurement, named after what it holds for. */
static bool cache_path(char *directory, char *path, size_t capacity) {
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char name[64], host[192];
    const int written = snprintf(host, sizeof host, "%s|%d|%d|%d", processor_name(), threads_count(), VERSION,
                                 (int)processor_instructions());
    snprintf(name, sizeof name, "compute-%016llx.json", (unsigned long long)hash_bytes(host, (size_t)written, 0));
    if (base != NULL && base[0] == '/')
        return path_join(directory, capacity, base, "casemix") && path_join(path, capacity, directory, name);
    return home != NULL && home[0] == '/' && path_join(directory, capacity, home, ".cache/casemix") &&
           path_join(path, capacity, directory, name);
}

/* One list of the numbers of a choice serves writing and reading. */
typedef bool number_visitor(void *context, const char *name, int64_t low, int64_t high, int64_t *value);

static bool each_number(struct compute_choice *choice, number_visitor *visit, void *context) {
    char name[64];
    for (int halves = 0; halves < 2; halves++) {
        const char *type = halves == 0 ? "f32" : "half";
        for (int shape = 0; shape < SHAPE_CLASSES; shape++) {
            int64_t way = choice->way[shape][halves];
            snprintf(name, sizeof name, "%s_%s_way", type, shape_class_name((enum shape_class)shape));
            if (!visit(context, name, WAY_SGEMM, WAY_MATMUL, &way)) return false;
            choice->way[shape][halves] = (enum product_way)way;
        }
        snprintf(name, sizeof name, "%s_few_rows", type);
        if (!visit(context, name, 0, SMALL_PRODUCT_ROWS, &choice->few_rows[halves])) return false;
    }
    return true;
}

static bool add_number(void *context, const char *name, int64_t low, int64_t high, int64_t *value) {
    struct text *text = context;
    (void)low;
    (void)high;
    text_printf(text, "%s\"%s\": %lld", text->length == 0 ? "{" : ", ", name, (long long)*value);
    return true;
}

static bool read_number(void *context, const char *name, int64_t low, int64_t high, int64_t *value) {
    return json_get_int(context, name, true, low, high, value, NULL);
}

/* A damaged file counts as none. */
static bool load_choice(struct compute_choice *choice, const char *path) {
    struct json *document;
    struct error error = {0};
    if (!path_exists(path) || !json_load(&document, path, 1 << 16, &error)) return false;
    *choice = (struct compute_choice)NO_MEASUREMENT;
    choice->measured = each_number(choice, read_number, (void *)(uintptr_t)json_root(document));
    json_free(document);
    return choice->measured;
}

bool compute_keep(const struct compute_choice *choice) {
    struct compute_choice numbers = *choice;
    struct text text = {0};
    struct error error = {0};
    char directory[4096], path[4096];
    if (!cache_path(directory, path, sizeof path)) return false;
    each_number(&numbers, add_number, &text);
    text_add(&text, "}\n");
    const bool kept = text_ok(&text, &error) && directory_create(directory, &error) &&
                      file_write(path, text.data, text.length, &error);
    text_free(&text);
    return kept;
}

void compute_start(enum compute_type type) {
    struct compute_choice choice = NO_MEASUREMENT;
    char directory[4096], path[4096];
    if (type == COMPUTE_AUTO && cache_path(directory, path, sizeof path) && !load_choice(&choice, path)) {
        compute_measure(&choice, 0.2);
        if (!choice.measured || !compute_keep(&choice)) choice = (struct compute_choice)NO_MEASUREMENT;
    }
    for (int shape = 0; type == COMPUTE_BF16 && shape < SHAPE_CLASSES; shape++) choice.way[shape][1] = WAY_BF16;
    choice.type = type;
    current = choice;
}
