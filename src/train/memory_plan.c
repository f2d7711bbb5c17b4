/* What a run will hold in memory, foretold before it begins: what is resident when model and data are open, and what is
 * still to come. Layers are computed twice where their activations would not fit. */
#include "base/error.h"
#include "train/cluster.h"
#include "train/training.h"
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* Room for what oneDNN and the OpenMP runtime take at the first product. An estimate: plans made with it were within
 * 10 % of the measured peak (test_memory_plan). */
#define LIBRARIES ((size_t)10 << 20)

/* Bytes that the run will hold, by what for. */
struct need {
    size_t resident;              /* already: program, data, tokenizer, trained tensors; and the weights */
    size_t mapped;                /* of that, weights whose pages are read only when the run begins */
    size_t frozen, trained, data; /* of that */
    size_t moments, buffers;      /* to come, besides the activations */
};

/* Resident bytes of this process; 0 if that cannot be read. */
static size_t resident_memory(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    size_t pages = 0;
    if (file != NULL && fscanf(file, "%*u %zu", &pages) != 1) pages = 0;
    if (file != NULL) fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* The most that was ever resident. */
static size_t highest_memory(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (size_t)usage.ru_maxrss * 1024 : 0;
}

/* Memory that can be had without swapping: MemAvailable of /proc/meminfo, shared with the other ranks on this machine;
 * 0 if that cannot be read. */
static size_t available_memory(void) {
    FILE *file = fopen("/proc/meminfo", "r");
    char line[256];
    size_t kilobytes = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "MemAvailable: %zu kB", &kilobytes) == 1) break;
    }
    if (file != NULL) fclose(file);
    return kilobytes * 1024 / (size_t)cluster_local_ranks();
}

static const struct parameters *trained(const struct training *training) {
    return training->network.call->parameters(training->network.model);
}

static struct need training_need(const struct training *training) {
    const struct parameters *parameters = trained(training);
    const bool decoder = training->network.family == NETWORK_DECODER;
    const size_t total = (size_t)parameters->total * sizeof(float);
    const size_t frozen = decoder ? decoder_frozen_bytes(&training->decoder) : 0;
    const bool mapped = decoder && training->decoder.checkpoint != NULL && training->decoder.quantised == NULL;
    return (struct need){.resident = resident_memory() + (mapped ? frozen : 0),
                         .mapped = mapped ? frozen : 0,
                         .frozen = frozen,
                         .trained = 2 * total,
                         .data = training->load.bytes,
                         .moments = 2 * total,
                         .buffers = LIBRARIES + training->buffer_bytes +
                                    (size_t)training->load.count * sizeof *training->order};
}

/* The highest that resident memory will go. */
static size_t foretold_peak(const struct need *need, const struct run_plan *plan) {
    const size_t later = need->resident + need->moments + need->buffers + plan->bytes, before = highest_memory();
    return later > before ? later : before;
}

bool training_plan_memory(struct training *training, struct error *error) {
    const struct need need = training_need(training);
    const size_t wanted = (size_t)training->settings->memory, available = available_memory();
    const size_t others = need.moments + need.buffers;
    /* A twentieth stays free for what others on the machine do. */
    const size_t limit = wanted > 0 ? wanted : available == 0 ? 0 : need.resident - need.mapped + available / 20 * 19;
    training->plan = (struct run_plan){
        .T = training->micro_tokens, .N = training->micro_sequences, .rows = training->micro_rows, .train = true};
    if (limit > 0 && limit <= need.resident + others) {
        error_set(error, "the run needs %zu MiB before any activation, %zu MiB are %s", (need.resident + others) >> 20,
                  limit >> 20, wanted > 0 ? "allowed" : "free");
        return error_hint(error, "train with lora, whose optimizer is small; --plan shows what takes how much");
    }
    if (training->network.call->run_plan(&training->plan, training->network.model,
                                         limit == 0 ? 0 : limit - need.resident - others, error))
        return true;
    return error_hint(error, "lower train.micro_batch_tokens; --plan shows what takes how much");
}

static void print_bytes(const char *name, size_t bytes) {
    printf("%-24s%12.1f MiB\n", name, (double)bytes / (1 << 20));
}

void training_print_plan(const struct training *training) {
    const struct need need = training_need(training);
    const struct parameters *parameters = trained(training);
    printf("trained parameters      %12lld in %zu tensors\n", (long long)parameters->total, parameters->count);
    printf("training %-15s%12lld (%lld cut to %lld tokens)\n", training->load.unit, (long long)training->load.count,
           (long long)training->load.cut, (long long)training->train->max_tokens);
    if (training->load.dropped > 0)
        printf("left out                %12lld longer than that\n", (long long)training->load.dropped);
    printf("tokens an epoch         %12lld\n", (long long)training->load.tokens);
    printf("steps                   %12lld of %lld %s, in micro-batches of up to %lld tokens\n",
           (long long)training->steps, (long long)training->train->batch_size, training->load.unit,
           (long long)training->micro_tokens);
    if (training->network.family == NETWORK_DECODER)
        printf("layers computed twice   %12lld of %lld\n", (long long)training->plan.recomputed,
               (long long)training->decoder.config.L);
    print_bytes("frozen weights", need.frozen);
    print_bytes("values and gradients", need.trained);
    print_bytes("optimizer moments", need.moments);
    print_bytes("activations", training->plan.bytes);
    print_bytes("data", need.data);
    const size_t known = need.frozen + need.trained + need.data;
    print_bytes("program and the rest", need.buffers + (need.resident > known ? need.resident - known : 0));
    print_bytes("peak resident memory", foretold_peak(&need, &training->plan));
    print_bytes("free", available_memory());
}
