/* A stream of bytes that is read and unpacked by a thread of its own while the caller works on the bytes before.
 *
 * Files under 1 MiB, pipes and standard input are read by the caller itself: a thread would not pay or could not be
 * stopped. */
#ifndef CASEMIX_BASE_READ_AHEAD_H
#define CASEMIX_BASE_READ_AHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct read_ahead;

/* As file_reader_open: plain or gzip, "-" for standard input. */
bool read_ahead_open(struct read_ahead **ahead, const char *path, struct error *error);

/* The next bytes, valid until the next call; *length 0 at the end of the file. */
bool read_ahead_next(struct read_ahead *ahead, const char **bytes, size_t *length, struct error *error);

/* Bytes of the file itself consumed so far, and its size (0 if unknown): for progress. */
void read_ahead_position(const struct read_ahead *ahead, uint64_t *consumed, uint64_t *size);

void read_ahead_close(struct read_ahead *ahead); /* NULL is fine */

#endif
