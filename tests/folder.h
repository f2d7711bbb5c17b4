/* A folder of a test's own under $TMPDIR, gone when the test ends. */
#ifndef CASEMIX_TESTS_FOLDER_H
#define CASEMIX_TESTS_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

/* Makes the folder of this test program; the path stays valid until folder_remove. cmocka set-up and tear-down
 * functions. */
int folder_make(void **state);
int folder_remove(void **state);

/* "FOLDER/NAME"; the last eight results stay valid. */
const char *folder_path(const char *name);

/* Writes bytes to FOLDER/NAME and gives its path. */
const char *folder_write(const char *name, const void *bytes, size_t length);
const char *folder_write_text(const char *name, const char *text);

/* Whether two files hold the same bytes. */
bool files_equal(const char *a, const char *b);

#endif
