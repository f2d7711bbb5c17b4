/* Ranks over MPI, or one rank. */
#include "train/cluster.h"
#include "base/error.h"
#include "base/memory.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#ifdef CASEMIX_MPI
#include <mpi.h>
#endif

/* Bytes of a sum that are under way at once. */
#define PIECE_BYTES ((size_t)4 << 20)

static struct {
    int rank, ranks, local;
    bool joined, error_is_shared;
    void *received; /* [PIECE_BYTES + one element a rank]: the ranks' parts of a slice */
    void *padded;   /* the same: the last piece of a sum, filled up to whole slices */
} cluster = {.ranks = 1, .local = 1};

/* Whether a launcher started this process as one of several. Open MPI's mpirun and everything that speaks PMIx or PMI
 * (srun) say so in the environment. */
static bool launched(void) {
    static const char *const sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const char *size = getenv(sizes[i]);
        if (size != NULL && atoi(size) > 1) return true;
    }
    const char *step = getenv("SLURM_STEP_NUM_TASKS");
    return getenv("PMIX_RANK") != NULL && step != NULL && atoi(step) > 1;
}

int cluster_rank(void) {
    return cluster.rank;
}

int cluster_ranks(void) {
    return cluster.ranks;
}

int cluster_local_ranks(void) {
    return cluster.local;
}

bool cluster_is_first(void) {
    return cluster.rank == 0;
}

bool cluster_error_is_shared(void) {
    return cluster.error_is_shared;
}

void cluster_share(int64_t count, int64_t (*weight)(const void *context, int64_t index), const void *context,
                   int64_t *first, int64_t *end) {
    *first = 0;
    *end = count;
    if (cluster.ranks == 1) return;
    int64_t total = 0, before = 0;
    for (int64_t i = 0; i < count; i++) total += weight(context, i);
    *first = *end = 0;
    for (int64_t i = 0; i < count; i++) {
        /* A thing goes to the rank in whose part of the whole its middle lies. */
        const int64_t own = weight(context, i), middle = 2 * before + own;
        const double place = (double)middle / (2 * (double)(total > 0 ? total : 1)) * (double)cluster.ranks;
        const int rank = place < (double)cluster.ranks ? (int)place : cluster.ranks - 1;
        if (rank < cluster.rank) *first = i + 1;
        if (rank <= cluster.rank) *end = i + 1;
        before += own;
    }
}

#ifdef CASEMIX_MPI

/* Bytes that one call of MPI moves at most: its counts are ints. */
enum { MOST_BYTES = 1 << 30 };

bool cluster_start(struct error *error) {
    if (!launched()) return true;
    int provided, argument_count = 0;
    char **arguments = NULL;
    if (MPI_Init_thread(&argument_count, &arguments, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
        return error_set(error, "MPI could not be started");
    cluster.joined = true;
    MPI_Comm_rank(MPI_COMM_WORLD, &cluster.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &cluster.ranks);
    MPI_Comm machine;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, cluster.rank, MPI_INFO_NULL, &machine);
    MPI_Comm_size(machine, &cluster.local);
    MPI_Comm_free(&machine);
    const size_t bytes = PIECE_BYTES + (size_t)cluster.ranks * sizeof(double);
    cluster.received = memory_alloc(1, bytes);
    cluster.padded = memory_alloc(1, bytes);
    return cluster_agree((cluster.received != NULL && cluster.padded != NULL) ||
                             memory_error(error, 2 * bytes, "the exchange between ranks"),
                         error);
}

void cluster_finish(bool done) {
    if (!cluster.joined) return;
    memory_free(cluster.received);
    memory_free(cluster.padded);
    cluster.received = cluster.padded = NULL;
    cluster.joined = false;
    if (!done && !cluster.error_is_shared) MPI_Abort(MPI_COMM_WORLD, 1);
    MPI_Finalize();
}

/* An array of which the ranks want the sum. */
struct addends {
    MPI_Datatype type;
    size_t size; /* bytes of an element */
    void (*add)(void *sum, const void *more, size_t count);
};

static void add_floats(void *sum, const void *more, size_t count) {
    float *to = sum;
    const float *from = more;
    for (size_t i = 0; i < count; i++) to[i] += from[i];
}

static void add_doubles(void *sum, const void *more, size_t count) {
    double *to = sum;
    const double *from = more;
    for (size_t i = 0; i < count; i++) to[i] += from[i];
}

/* `piece` holds one slice for each rank. Each rank gets its slice from all, adds them up in order, and hands the sum to
 * all: every element is added once, on one rank, so that all get the same bits. */
static void sum_piece(const struct addends *addends, char *piece, size_t slice) {
    const size_t bytes = slice * addends->size;
    char *received = cluster.received, *own = piece + (size_t)cluster.rank * bytes;
    MPI_Alltoall(piece, (int)slice, addends->type, received, (int)slice, addends->type, MPI_COMM_WORLD);
    for (int r = 1; r < cluster.ranks; r++) addends->add(received, received + (size_t)r * bytes, slice);
    memcpy(own, received, bytes);
    MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, piece, (int)slice, addends->type, MPI_COMM_WORLD);
}

static void sum(const struct addends *addends, char *values, size_t count) {
    const size_t ranks = (size_t)cluster.ranks, slice = PIECE_BYTES / addends->size / ranks + 1;
    size_t first = 0;
    for (; first + slice * ranks <= count; first += slice * ranks)
        sum_piece(addends, values + first * addends->size, slice);
    const size_t left = count - first;
    if (left == 0) return;
    const size_t last = (left + ranks - 1) / ranks;
    memset(cluster.padded, 0, last * ranks * addends->size);
    memcpy(cluster.padded, values + first * addends->size, left * addends->size);
    sum_piece(addends, cluster.padded, last);
    memcpy(values + first * addends->size, cluster.padded, left * addends->size);
}

void cluster_sum(float *values, int64_t count) {
    const struct addends addends = {MPI_FLOAT, sizeof(float), add_floats};
    if (cluster.ranks > 1) sum(&addends, (char *)values, (size_t)count);
}

void cluster_sum_doubles(double *values, int64_t count) {
    const struct addends addends = {MPI_DOUBLE, sizeof(double), add_doubles};
    if (cluster.ranks > 1) sum(&addends, (char *)values, (size_t)count);
}

int64_t cluster_max(int64_t value) {
    if (cluster.ranks > 1) MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_INT64_T, MPI_MAX, MPI_COMM_WORLD);
    return value;
}

double cluster_max_double(double value) {
    if (cluster.ranks > 1) MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return value;
}

static void broadcast(void *bytes, size_t length, int from) {
    for (size_t first = 0; first < length; first += MOST_BYTES) {
        const size_t count = length - first < MOST_BYTES ? length - first : MOST_BYTES;
        MPI_Bcast((char *)bytes + first, (int)count, MPI_BYTE, from, MPI_COMM_WORLD);
    }
}

void cluster_broadcast(void *bytes, size_t length) {
    if (cluster.ranks > 1) broadcast(bytes, length, 0);
}

void cluster_barrier(void) {
    if (cluster.ranks > 1) MPI_Barrier(MPI_COMM_WORLD);
}

/* A text of `length` zeros. */
static bool make_room(struct text *text, size_t length, struct error *error) {
    static const char zeros[4096];
    text_clear(text);
    for (size_t left = length; left > 0;) {
        const size_t count = left < sizeof zeros ? left : sizeof zeros;
        text_append(text, zeros, count);
        left -= count;
    }
    return text_ok(text, error);
}

bool cluster_broadcast_text(struct text *text, struct error *error) {
    if (cluster.ranks == 1) return true;
    uint64_t length = text->length;
    broadcast(&length, sizeof length, 0);
    if (!cluster_agree(cluster.rank == 0 || make_room(text, length, error), error)) return false;
    broadcast(text->data, length, 0);
    return true;
}

bool cluster_gather_text(const struct text *own, struct text *all, struct error *error) {
    if (cluster.rank == 0) text_append(all, own->data == NULL ? "" : own->data, own->length);
    for (int r = 1; r < cluster.ranks; r++) {
        uint64_t length = own->length;
        if (cluster.rank == r) MPI_Send(&length, sizeof length, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
        if (cluster.rank == 0) MPI_Recv(&length, sizeof length, MPI_BYTE, r, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (cluster.rank != 0 && cluster.rank != r) continue;
        struct text part = {0};
        const bool room = cluster.rank == r || make_room(&part, length, error);
        for (uint64_t first = 0; room && first < length; first += MOST_BYTES) {
            const int count = (int)(length - first < MOST_BYTES ? length - first : MOST_BYTES);
            if (cluster.rank == r)
                MPI_Send(own->data + first, count, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
            else
                MPI_Recv(part.data + first, count, MPI_BYTE, r, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        }
        text_append(all, part.data == NULL ? "" : part.data, cluster.rank == 0 ? part.length : 0);
        text_free(&part);
        if (!room) return false; /* the job ends with it: the sender would wait for ever */
    }
    return cluster.rank != 0 || text_ok(all, error);
}

bool cluster_agree(bool done, struct error *error) {
    if (cluster.ranks == 1) return done;
    if (cluster.error_is_shared) return false;
    int first = done ? INT_MAX : cluster.rank;
    MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    if (first == INT_MAX) return true;
    struct error own = {0}, *shared = error == NULL ? &own : error;
    broadcast(shared, sizeof *shared, first);
    cluster.error_is_shared = true;
    return first == 0 ? false : error_context(shared, "rank %d", first);
}

#else

bool cluster_start(struct error *error) {
    if (!launched()) return true;
    error_set(error, "this casemix was built without MPI, and would run once in each process of the job");
    return error_hint(error, "build it with `make MPI=1`");
}

void cluster_finish(bool done) {
    (void)done;
}

void cluster_sum(float *values, int64_t count) {
    (void)values;
    (void)count;
}

void cluster_sum_doubles(double *values, int64_t count) {
    (void)values;
    (void)count;
}

int64_t cluster_max(int64_t value) {
    return value;
}

double cluster_max_double(double value) {
    return value;
}

void cluster_broadcast(void *bytes, size_t length) {
    (void)bytes;
    (void)length;
}

bool cluster_broadcast_text(struct text *text, struct error *error) {
    (void)text;
    (void)error;
    return true;
}

bool cluster_gather_text(const struct text *own, struct text *all, struct error *error) {
    text_append(all, own->data == NULL ? "" : own->data, own->length);
    return text_ok(all, error);
}

void cluster_barrier(void) {}

bool cluster_agree(bool done, struct error *error) {
    (void)error;
    return done;
}

#endif
