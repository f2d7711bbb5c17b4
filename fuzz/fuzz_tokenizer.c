/* tokenizer.json: a tokenizer that opens encodes a fixed text, and decodes whatever ids it gave. */
#include "base/error.h"
#include "base/text.h"
#include "input.h"
#include "tokenizer/tokenizer.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static const char note[] =
        "  Pt's BP 120/80; caf\xc3\xa9 e\xcc\x81 <|endoftext|>\n\n\tno chest pain \xe5\xbf\x83 <s>";
    struct tokenizer *tokenizer;
    struct error error;
    if (!tokenizer_open(&tokenizer, input_file(bytes, length), &error)) return 0;
    struct token_list list = {0};
    struct text text = {0};
    if (tokenizer_encode(tokenizer, note, strlen(note), true, &list, &error)) {
        for (size_t i = 0; i < list.count; i++) {
            if (list.ids[i] < 0 || (size_t)list.ids[i] >= tokenizer_vocabulary(tokenizer)) abort();
        }
        if (!tokenizer_decode(tokenizer, list.ids, list.count, false, &text, &error)) abort();
        input_touch(text.data, text.length);
    }
    text_free(&text);
    token_list_free(&list);
    tokenizer_close(tokenizer);
    return 0;
}
