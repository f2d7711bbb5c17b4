/* HL7 version 2 messages: whatever is taken as a note is text that can be read. */
#include "base/error.h"
#include "base/text.h"
#include "data/hl7.h"
#include "input.h"
#include <stdlib.h>
#include <string.h>

static bool take(void *context, const char *id, const char *text, size_t length, struct error *error) {
    (void)context, (void)error;
    input_touch(id, strlen(id));
    input_touch(text, length);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct error error = {0};
    /* A copy of exactly these bytes: a read behind them is seen. */
    char *copy = malloc(length == 0 ? 1 : length);
    if (copy == NULL) return 0;
    if (length > 0) memcpy(copy, bytes, length);
    if (!hl7_read("input", copy, length, take, NULL, &error) && error.message[0] == '\0') abort();
    free(copy);
    return 0;
}
