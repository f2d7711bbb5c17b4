/* Where the files are that come with the program: models, recipes and tables.
 *
 * Nothing is compiled in: they lie under the current directory (a checkout), beside the program's folder (build/), or
 * in share/casemix beside bin/ where `make install` puts them, so that an installed tree can be moved or unpacked
 * anywhere. */
#ifndef CASEMIX_BASE_SHIPPED_H
#define CASEMIX_BASE_SHIPPED_H

#include <stdbool.h>
#include <stddef.h>

/* The directory `name`, such as "models/tiny-classifier", into path; false when it is in none of the places. */
bool shipped_find(char *path, size_t capacity, const char *name);

#endif
