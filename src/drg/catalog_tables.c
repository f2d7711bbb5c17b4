/* The catalog tables, taken into the program byte by byte, so that it runs from any folder. The assembler's .incbin
 * does it in gcc and clang alike; a C array of a megabyte would take the compiler seconds. The build runs from the root
 * of the project, where data/ lies. */
#include "drg/catalog_tables.h"

#define INCLUDE_BYTES(symbol, path)                                                      \
    __asm__(".section .rodata\n.balign 16\n" #symbol ":\n.incbin \"" path "\"\n" #symbol \
            "_end:\n.byte 0\n.previous\n");                                              \
    extern const char symbol[];                                                          \
    extern const char symbol##_end[];

INCLUDE_BYTES(casemix_table_v34, "data/ms-drg-v34.tsv")
INCLUDE_BYTES(casemix_table_v43, "data/ms-drg-v43.tsv")
INCLUDE_BYTES(casemix_title_words, "data/title-words.tsv")
INCLUDE_BYTES(casemix_title_aliases, "data/title-aliases.tsv")

struct table_bytes catalog_table(enum grouper grouper) {
    if (grouper == GROUPER_V34)
        return (struct table_bytes){casemix_table_v34, (size_t)(casemix_table_v34_end - casemix_table_v34)};
    return (struct table_bytes){casemix_table_v43, (size_t)(casemix_table_v43_end - casemix_table_v43)};
}

struct table_bytes title_words_table(void) {
    return (struct table_bytes){casemix_title_words, (size_t)(casemix_title_words_end - casemix_title_words)};
}

struct table_bytes title_aliases_table(void) {
    return (struct table_bytes){casemix_title_aliases, (size_t)(casemix_title_aliases_end - casemix_title_aliases)};
}
