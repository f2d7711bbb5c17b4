/* u8 x s8 -> s32 products by oneDNN's matmul primitive, weights as they lie in memory ([outputs, inputs], not
 * reordered), one primitive for each shape. */
#include "tensor/int8_kernels.h"
#include "tensor/processor.h"
#include <dnnl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { SHAPES = 64 };

struct shape {
    int64_t T, count, I, lda;
};

/* A made primitive and what executing it needs. */
struct made {
    struct shape shape;
    dnnl_primitive_t primitive;
    dnnl_memory_desc_t u, weight, acc;
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
    fprintf(stderr, "casemix: integer product: %s failed in oneDNN (status %d)\n", what, (int)status);
    abort();
}

bool int8_matmul_is_exact(void) {
    const unsigned isa = (unsigned)dnnl_get_effective_cpu_isa(), vnni = (unsigned)dnnl_cpu_isa_avx512_core_vnni;
    return processor_instructions() >= INSTRUCTIONS_VNNI && (isa & vnni) == vnni;
}

static void describe(dnnl_memory_desc_t *desc, int64_t rows, int64_t cols, dnnl_data_type_t type, int64_t row_stride,
                     int64_t col_stride) {
    const dnnl_dims_t dims = {rows, cols}, strides = {row_stride, col_stride};
    must(dnnl_memory_desc_init_by_strides(desc, 2, dims, type, strides), "a memory descriptor");
}

static void make(struct made *made, const struct shape *shape) {
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t primitive_desc;
    made->shape = *shape;
    describe(&made->u, shape->T, shape->I, dnnl_u8, shape->I, 1);
    describe(&made->weight, shape->I, shape->count, dnnl_s8, 1, shape->I);
    describe(&made->acc, shape->T, shape->count, dnnl_s32, shape->lda, 1);
    must(dnnl_matmul_desc_init(&desc, &made->u, &made->weight, NULL, &made->acc), "a descriptor");
    must(dnnl_primitive_desc_create(&primitive_desc, &desc, NULL, products.engine, NULL), "a primitive descriptor");
    must(dnnl_primitive_create(&made->primitive, primitive_desc), "a primitive");
    dnnl_primitive_desc_destroy(primitive_desc);
}

/* The primitive of this shape; when the table is full the oldest makes room. The lock is held. */
static const struct made *find(const struct shape *shape) {
    for (int i = 0; i < products.count; i++) {
        const struct shape *known = &products.made[i].shape;
        if (known->T == shape->T && known->count == shape->count && known->I == shape->I && known->lda == shape->lda)
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

void int8_matmul(int32_t *acc, int64_t lda, const uint8_t *u, const int8_t *weight, int64_t I, int64_t count,
                 int64_t T) {
    const struct shape shape = {T, count, I, lda};
    dnnl_exec_arg_t arguments[3] = {{DNNL_ARG_SRC, NULL}, {DNNL_ARG_WEIGHTS, NULL}, {DNNL_ARG_DST, NULL}};
    /* oneDNN takes pointers to non-const and does not write to its inputs. */
    void *const data[3] = {(void *)(uintptr_t)u, (void *)(uintptr_t)weight, acc};
    pthread_mutex_lock(&products.lock);
    const struct made *made = find(&shape);
    const dnnl_memory_desc_t *const descs[3] = {&made->u, &made->weight, &made->acc};
    for (int i = 0; i < 3; i++)
        must(dnnl_memory_create(&arguments[i].memory, descs[i], products.engine, data[i]), "a memory object");
    must(dnnl_primitive_execute(made->primitive, products.stream, 3, arguments), "a product");
    for (int i = 0; i < 3; i++) dnnl_memory_destroy(arguments[i].memory);
    pthread_mutex_unlock(&products.lock);
}
