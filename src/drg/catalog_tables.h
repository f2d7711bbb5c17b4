/* The bytes of data/ms-drg-*.tsv that stand in the program. */
#ifndef CASEMIX_DRG_CATALOG_TABLES_H
#define CASEMIX_DRG_CATALOG_TABLES_H

#include "drg/catalog.h"

struct table_bytes {
    const char *bytes;
    size_t length;
};

struct table_bytes catalog_table(enum grouper grouper);

#endif
