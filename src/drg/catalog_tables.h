/* The bytes of data/ms-drg-*.tsv and data/title-*.tsv that stand in the program. */
#ifndef CASEMIX_DRG_CATALOG_TABLES_H
#define CASEMIX_DRG_CATALOG_TABLES_H

#include "drg/catalog.h"

struct table_bytes {
    const char *bytes;
    size_t length;
};

struct table_bytes catalog_table(enum grouper grouper);
struct table_bytes title_words_table(void);
struct table_bytes title_aliases_table(void);

#endif
