/* The small model, written by the project's own writers. */
#include "small_model.h"
#include "base/error.h"
#include "model/config.h"

const struct model_config small_model = {.architecture = ARCHITECTURE_LLAMA,
                                         .V = 8,
                                         .C = 4,
                                         .L = 1,
                                         .H = 2,
                                         .K = 1,
                                         .D = 2,
                                         .F = 4,
                                         .positions = 16,
                                         .norm_eps = 1e-5f,
                                         .rope_theta = 10000,
                                         .bos_id = -1,
                                         .eos_id = -1,
                                         .pad_id = -1,
                                         .initializer_range = 0.02f};

bool small_model_write(const char *folder) {
    static bool written;
    struct decoder decoder;
    struct error error;
    if (written) return true;
    if (!decoder_create(&decoder, &small_model, 1, &error)) return false;
    written = model_config_write(&small_model, folder, "float32", NULL, &error) &&
              decoder_write(&decoder, folder, DTYPE_F32, &error);
    decoder_close(&decoder);
    return written;
}
