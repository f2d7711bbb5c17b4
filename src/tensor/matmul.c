/* One primitive for each kind and shape, in a table; the weights are not reordered, since a second copy of them would
 * cost as much memory as the first. */
#include "tensor/matmul.h"
#include "tensor/processor.h"
#include <dnnl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { SHAPES = 128 };

struct shape {
    enum matmul_kind kind;
    bool accumulate;
    int64_t M, N, K, ldc;
};

/* A made primitive and what executing it needs. */
struct made {
    struct shape shape;
    dnnl_primitive_t primitive;
    dnnl_memory_desc_t a, b, c;
};

static struct {
    pthread_mutex_t lock;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct made made[SHAPES];
    int count, next;
} products = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The arguments are ours: only a broken invariant or no memory gets here. */
static void must(dnnl_status_t status, const char *what) {
    if (status == dnnl_success) return;
    fprintf(stderr, "casemix: matrix product: %s failed in oneDNN (status %d)\n", what, (int)status);
    abort();
}

bool matmul_bf16_is_possible(void) {
    const unsigned isa = (unsigned)dnnl_get_effective_cpu_isa(), avx512 = (unsigned)dnnl_cpu_isa_avx512_core;
    return (isa & avx512) == avx512;
}

bool matmul_int8_is_exact(void) {
    return processor_instructions() >= INSTRUCTIONS_VNNI;
}

static void describe(dnnl_memory_desc_t *desc, int64_t rows, int64_t cols, dnnl_data_type_t type, int64_t row_stride,
                     int64_t col_stride) {
    const dnnl_dims_t dims = {rows, cols}, strides = {row_stride, col_stride};
    must(dnnl_memory_desc_init_by_strides(desc, 2, dims, type, strides), "a memory descriptor");
}

static void make(struct made *made, const struct shape *shape) {
    static const dnnl_data_type_t types[][3] = {[MATMUL_F32] = {dnnl_f32, dnnl_f32, dnnl_f32},
                                                [MATMUL_BF16] = {dnnl_bf16, dnnl_bf16, dnnl_f32},
                                                [MATMUL_INT8] = {dnnl_u8, dnnl_s8, dnnl_s32}};
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t primitive_desc;
    dnnl_primitive_attr_t attributes;
    dnnl_post_ops_t after;
    made->shape = *shape;
    describe(&made->a, shape->M, shape->K, types[shape->kind][0], shape->K, 1);
    describe(&made->b, shape->K, shape->N, types[shape->kind][1], 1, shape->K);
    describe(&made->c, shape->M, shape->N, types[shape->kind][2], shape->ldc, 1);
    must(dnnl_matmul_desc_init(&desc, &made->a, &made->b, NULL, &made->c), "a descriptor");
    must(dnnl_primitive_attr_create(&attributes), "attributes");
    must(dnnl_post_ops_create(&after), "attributes");
    if (shape->accumulate) must(dnnl_post_ops_append_sum(after, 1), "attributes");
    must(dnnl_primitive_attr_set_post_ops(attributes, after), "attributes");
    must(dnnl_primitive_desc_create(&primitive_desc, &desc, attributes, products.engine, NULL),
         "a primitive descriptor");
    must(dnnl_primitive_create(&made->primitive, primitive_desc), "a primitive");
    dnnl_primitive_desc_destroy(primitive_desc);
    dnnl_post_ops_destroy(after);
    dnnl_primitive_attr_destroy(attributes);
}

/* The primitive of this shape; when the table is full the oldest makes room. The lock is held. */
static const struct made *find(const struct shape *shape) {
    for (int i = 0; i < products.count; i++) {
        const struct shape *known = &products.made[i].shape;
        if (known->kind == shape->kind && known->accumulate == shape->accumulate && known->M == shape->M &&
            known->N == shape->N && known->K == shape->K && known->ldc == shape->ldc)
            return &products.made[i];
    }
    if (products.engine == NULL) {
        must(dnnl_engine_create(&products.engine, dnnl_cpu, 0), "an engine");
        must(dnnl_stream_create(&products.stream, products.engine, dnnl_stream_default_flags), "a stream");
    }
    struct made *made = &products.made[products.count < SHAPES ? products.count++ : products.next++ % SHAPES];
    if (made->primitive != NULL) dnnl_primitive_destroy(made->primitive);
    make(made, shape);
    return made;
}

void matmul(enum matmul_kind kind, bool accumulate, int64_t M, int64_t N, int64_t K, const void *A, const void *B,
            void *C, int64_t ldc) {
    const struct shape shape = {kind, accumulate, M, N, K, ldc};
    dnnl_exec_arg_t arguments[3] = {{DNNL_ARG_SRC, NULL}, {DNNL_ARG_WEIGHTS, NULL}, {DNNL_ARG_DST, NULL}};
    /* oneDNN takes pointers to non-const and does not write to its inputs. */
    void *const data[3] = {(void *)(uintptr_t)A, (void *)(uintptr_t)B, C};
    pthread_mutex_lock(&products.lock);
    const struct made *made = find(&shape);
    const dnnl_memory_desc_t *const descs[3] = {&made->a, &made->b, &made->c};
    for (int i = 0; i < 3; i++)
        must(dnnl_memory_create(&arguments[i].memory, descs[i], products.engine, data[i]), "a memory object");
    must(dnnl_primitive_execute(made->primitive, products.stream, 3, arguments), "a product");
    for (int i = 0; i < 3; i++) dnnl_memory_destroy(arguments[i].memory);
    pthread_mutex_unlock(&products.lock);
}
