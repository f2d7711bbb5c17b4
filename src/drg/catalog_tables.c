/* The catalog tables that stand in the program: see catalog_tables.h. */
#include "drg/catalog_tables.h"
#include "base/include_bytes.h"

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
