/* config.json: what is taken has sizes that agree, finite frequencies, and is the same when written and read again. */
#include "base/error.h"
#include "input.h"
#include "model/config.h"
#include <math.h>
#include <stdlib.h>

static void check(const struct model_config *config) {
    if (config->V < 1 || config->C < 1 || config->L < 1 || config->K < 1 || config->H % config->K != 0) abort();
    double frequencies[4096];
    if (config->D % 2 != 0 || config->D / 2 > 4096) abort();
    model_config_frequencies(config, frequencies);
    for (int64_t i = 0; i < config->D / 2; i++) {
        if (!isfinite(frequencies[i])) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct model_config config, again;
    struct error error;
    if (!model_config_parse(&config, "config.json", (const char *)bytes, length, &error)) return 0;
    check(&config);
    if (config.labels > 4096) return 0;
    if (!model_config_write(&config, input_folder(), "float32", NULL, &error)) abort();
    if (!model_config_load(&again, input_folder(), &error)) abort();
    if (again.V != config.V || again.C != config.C || again.L != config.L || again.H != config.H ||
        again.K != config.K || again.D != config.D || again.F != config.F || again.positions != config.positions ||
        again.tied != config.tied || again.classifier != config.classifier || again.qkv_bias != config.qkv_bias ||
        again.mlp_bias != config.mlp_bias || again.rope_scaling != config.rope_scaling ||
        again.rope_theta < config.rope_theta || again.rope_theta > config.rope_theta) {
        abort();
    }
    return 0;
}
