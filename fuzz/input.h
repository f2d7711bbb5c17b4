/* What the fuzz targets share: bytes handed to a parser as a file, and a look at every byte that a parser gives back.
 */
#ifndef CASEMIX_FUZZ_INPUT_H
#define CASEMIX_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

/* The target: called by libFuzzer for every input. Each fuzz_*.c defines it. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* The path of a file in memory that holds these bytes; valid until the next call. */
const char *input_file(const uint8_t *bytes, size_t length);

/* A folder of this process in memory (/dev/shm, else $TMPDIR), empty at first, removed at exit. */
const char *input_folder(void);

/* FOLDER/NAME replaced by these bytes. */
void input_folder_write(const char *name, const void *bytes, size_t length);

/* Reads every byte, so that the sanitizer sees a result that points outside its memory. */
void input_touch(const void *bytes, size_t length);

#endif
