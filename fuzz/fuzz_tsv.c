/* TSV: every row has every cell. The same bytes as labels.tsv: codes rise. */
#include "base/csv.h"
#include "base/error.h"
#include "data/dataset.h"
#include "input.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct tsv table;
    struct labels labels;
    struct error error;
    if (tsv_parse(&table, "input", (const char *)bytes, length, &error)) {
        for (size_t row = 0; row < table.rows; row++) {
            for (size_t column = 0; column < table.columns; column++) {
                const char *cell = tsv_cell(&table, row, column);
                input_touch(cell, strlen(cell));
            }
        }
        tsv_free(&table);
    }
    if (!labels_load(&labels, input_file(bytes, length), &error)) return 0;
    for (size_t i = 0; i < labels.count; i++) {
        if (labels_find(&labels, labels.codes[i]) != (int)i) abort();
    }
    labels_free(&labels);
    return 0;
}
