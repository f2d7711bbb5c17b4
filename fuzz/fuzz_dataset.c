/* Dataset lines: every stay that is taken has a text, three ids and a DRG in range. */
#include "base/error.h"
#include "data/dataset.h"
#include "input.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct dataset dataset = {0};
    struct error error;
    dataset_load(&dataset, input_file(bytes, length), &error);
    for (size_t i = 0; i < dataset.count; i++) {
        const struct stay *stay = &dataset.stays[i];
        if (stay->drg < 0 || stay->drg > 999 || strlen(stay->text) != stay->text_length) abort();
        input_touch(stay->note_id, strlen(stay->note_id));
        input_touch(stay->hadm_id, strlen(stay->hadm_id));
        input_touch(stay->subject_id, strlen(stay->subject_id));
    }
    dataset_free(&dataset);
    return 0;
}
