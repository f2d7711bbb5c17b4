/* A PEFT adapter laid over a small model. The input is adapter_config.json, a NUL byte, and
 * adapter_model.safetensors. */
#include "base/error.h"
#include "input.h"
#include "model/decoder.h"
#include "small_model.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    const uint8_t *cut = length == 0 ? NULL : memchr(bytes, '\0', length);
    const size_t config = cut == NULL ? length : (size_t)(cut - bytes);
    input_folder_write("adapter_config.json", bytes, config);
    input_folder_write("adapter_model.safetensors", cut == NULL ? bytes : cut + 1,
                       cut == NULL ? 0 : length - config - 1);
    struct decoder decoder;
    struct error error;
    for (int train = 0; train < 2; train++) {
        if (!small_model_write(input_folder()) || !decoder_open(&decoder, input_folder(), &error)) abort();
        decoder_open_adapter(&decoder, input_folder(), train == 1, &error);
        decoder_close(&decoder);
    }
    return 0;
}
