/* Writing safetensors: header padded to 8 bytes, tensors one behind the other, narrowed on the way out; the same
 * tensors give the same bytes. */
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "model/safetensors.h"
#include <string.h>

static int64_t elements_of(const struct tensor_to_write *tensor) {
    int64_t elements = 1;
    for (int i = 0; i < tensor->dims; i++) elements *= tensor->shape[i];
    return elements;
}

static void build_header(struct text *header, const struct tensor_to_write *tensors, size_t count,
                         const char *const *metadata, size_t pairs) {
    uint64_t offset = 0;
    text_add_char(header, '{');
    if (pairs > 0) text_add(header, "\"__metadata__\":{");
    for (size_t i = 0; i < pairs; i++) {
        text_add(header, i == 0 ? "" : ",");
        text_add_json(header, metadata[2 * i], strlen(metadata[2 * i]));
        text_add_char(header, ':');
        text_add_json(header, metadata[2 * i + 1], strlen(metadata[2 * i + 1]));
    }
    if (pairs > 0) text_add_char(header, '}');
    for (size_t i = 0; i < count; i++) {
        const uint64_t bytes = (uint64_t)elements_of(&tensors[i]) * dtype_size(tensors[i].dtype);
        text_add(header, i > 0 || pairs > 0 ? "," : "");
        text_add_json(header, tensors[i].name, strlen(tensors[i].name));
        text_printf(header, ":{\"dtype\":\"%s\",\"shape\":[", dtype_name(tensors[i].dtype));
        for (int d = 0; d < tensors[i].dims; d++)
            text_printf(header, "%s%lld", d == 0 ? "" : ",", (long long)tensors[i].shape[d]);
        text_printf(header, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)offset,
                    (unsigned long long)(offset + bytes));
        offset += bytes;
    }
    text_add_char(header, '}');
    while (header->length % 8 != 0 && !header->failed) text_add_char(header, ' ');
}

static bool write_tensor(struct file_writer *writer, const struct tensor_to_write *tensor, struct error *error) {
    enum { PIECE = 1 << 14 };
    const int64_t elements = elements_of(tensor);
    uint16_t narrow[PIECE];
    const float *wide = tensor->data;
    if (tensor->dtype == DTYPE_F32 || tensor->dtype == DTYPE_INT8)
        return file_writer_write(writer, tensor->data, (size_t)elements * dtype_size(tensor->dtype), error);
    for (int64_t first = 0; first < elements; first += PIECE) {
        const int64_t count = elements - first < PIECE ? elements - first : PIECE;
        if (tensor->dtype == DTYPE_BF16)
            narrow_bf16(narrow, wide + first, count);
        else
            narrow_f16(narrow, wide + first, count);
        if (!file_writer_write(writer, narrow, (size_t)count * sizeof *narrow, error)) return false;
    }
    return true;
}

bool safetensors_write(const char *path, const struct tensor_to_write *tensors, size_t count,
                       const char *const *metadata_pairs, size_t pairs, struct error *error) {
    struct text header = {0};
    build_header(&header, tensors, count, metadata_pairs, pairs);
    struct file_writer *writer = NULL;
    bool done = text_ok(&header, error) && file_writer_open(&writer, path, error);
    unsigned char length[8];
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)header.length >> (8 * i));
    done = done && file_writer_write(writer, length, sizeof length, error) &&
           file_writer_write(writer, header.data, header.length, error);
    for (size_t i = 0; done && i < count; i++) done = write_tensor(writer, &tensors[i], error);
    done = done && file_writer_commit(writer, error);
    file_writer_close(writer);
    text_free(&header);
    return done;
}
