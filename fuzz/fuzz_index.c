/* model.safetensors.index.json beside two sound shards, "a" with tensors a and b, "b" with tensor c. */
#include "base/error.h"
#include "input.h"
#include "model/safetensors.h"
#include <stdio.h>
#include <stdlib.h>

static void write_shards(void) {
    const float values[4] = {1, 2, 3, 4};
    const struct tensor_to_write tensors[] = {
        {"a", DTYPE_F32, 1, {4}, values}, {"b", DTYPE_BF16, 2, {2, 2}, values}, {"c", DTYPE_F16, 1, {1}, values}};
    char path[600];
    struct error error;
    snprintf(path, sizeof path, "%s/a", input_folder());
    if (!safetensors_write(path, tensors, 2, NULL, 0, &error)) abort();
    snprintf(path, sizeof path, "%s/b", input_folder());
    if (!safetensors_write(path, tensors + 2, 1, NULL, 0, &error)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static bool written;
    if (!written) write_shards();
    written = true;
    input_folder_write("model.safetensors.index.json", bytes, length);
    struct safetensors *set;
    struct error error;
    if (!safetensors_open(&set, input_folder(), &error)) return 0;
    for (size_t i = 0; i < safetensors_count(set); i++) {
        const struct stored_tensor *tensor = safetensors_at(set, i);
        input_touch(tensor->data, (size_t)tensor->elements * (tensor->type == STORED_F32 ? 4 : 2));
    }
    safetensors_close(set);
    return 0;
}
