/* Names of tensors. */
#include "model/names.h"
#include <stdio.h>
#include <string.h>

const char *projection_name(enum projection_kind kind) {
    static const char *const names[PROJECTIONS] = {
        [PROJECTION_Q] = "self_attn.q_proj", [PROJECTION_K] = "self_attn.k_proj", [PROJECTION_V] = "self_attn.v_proj",
        [PROJECTION_O] = "self_attn.o_proj", [PROJECTION_GATE] = "mlp.gate_proj", [PROJECTION_UP] = "mlp.up_proj",
        [PROJECTION_DOWN] = "mlp.down_proj",
    };
    return names[kind];
}

const char *projection_short_name(enum projection_kind kind) {
    return strchr(projection_name(kind), '.') + 1;
}

void adapter_tensor_name(char *out, size_t capacity, int64_t layer, enum projection_kind kind, char factor) {
    snprintf(out, capacity, "base_model.model.model.layers.%lld.%s.lora_%c.weight", (long long)layer,
             projection_name(kind), factor);
}

static bool ends_with(const char *name, const char *end) {
    const size_t length = strlen(name), tail = strlen(end);
    return length >= tail && strcmp(name + length - tail, end) == 0;
}

bool tensor_is_spare(const char *name, const struct model_config *config) {
    if (ends_with(name, "rotary_emb.inv_freq") || ends_with(name, "rotary_emb.cos_cached") ||
        ends_with(name, "rotary_emb.sin_cached")) {
        return true;
    }
    if (strcmp(name, "lm_head.weight") == 0) return config->classifier || config->tied;
    return strcmp(name, "score.weight") == 0 && !config->classifier;
}
