/* FHIR documents: what is read can be answered, and the answer is JSON again. The note is the input itself as XHTML
 * too. */
#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "data/fhir.h"
#include "data/xhtml_text.h"
#include "input.h"
#include <stdlib.h>
#include <string.h>

static void answer(const struct fhir_note *note) {
    const struct fhir_drg drgs[] = {{&catalog_get(GROUPER_V43)->drgs[0], 0.5}};
    const struct fhir_answer given = {.note = note,
                                      .grouper = GROUPER_V43,
                                      .drgs = drgs,
                                      .count = 1,
                                      .version = "0",
                                      .model = "m",
                                      .model_sha256 = "",
                                      .adapter_sha256 = "",
                                      .note_sha256 = "n"};
    struct text out = {0};
    struct json *document;
    fhir_add_answer(&out, &given);
    if (!json_parse(&document, "answer", out.data, out.length, NULL)) abort();
    json_free(document);
    text_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct json *document;
    struct fhir_note *notes;
    size_t count;
    struct error error = {0};
    struct text text = {0};
    xhtml_add_text(&text, (const char *)bytes, length);
    if (text.length > 0) input_touch(text.data, text.length);
    text_free(&text);
    if (!json_parse(&document, "input", (const char *)bytes, length, &error)) return 0;
    if (fhir_read(json_root(document), 3, &notes, &count, &error)) {
        for (size_t i = 0; i < count; i++) {
            input_touch(notes[i].text.data, notes[i].text.length);
            answer(&notes[i]);
            fhir_note_free(&notes[i]);
        }
        memory_free(notes);
    }
    json_free(document);
    return 0;
}
