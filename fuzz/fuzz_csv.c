/* CSV: every record has as many fields as the header, each with a NUL behind. */
#include "base/csv.h"
#include "base/error.h"
#include "input.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct csv_reader *reader;
    struct error error;
    if (!csv_open(&reader, input_file(bytes, length), &error)) return 0;
    const int columns = (int)csv_column_count(reader);
    for (int i = 0; i < columns; i++) {
        if (csv_column(reader, csv_column_name(reader, (size_t)i)) < 0) abort();
    }
    uint64_t line = 0;
    for (bool more = true; more && csv_next(reader, &more, &error);) {
        if (!more) break;
        if (csv_line(reader) < line) abort(); /* a bare carriage return ends a record too */
        line = csv_line(reader);
        for (int i = 0; i < columns; i++) {
            size_t field_length;
            const char *field = csv_field(reader, i, &field_length);
            if (field[field_length] != '\0') abort();
            input_touch(field, field_length);
        }
    }
    csv_close(reader);
    return 0;
}
