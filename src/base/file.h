/* Files: whole-file reads (plain or gzip), read-only maps, and writes that either complete or leave the old file alone.
 */
#ifndef CASEMIX_BASE_FILE_H
#define CASEMIX_BASE_FILE_H

#include "base/text.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* A file mapped read-only. Zero-initialise; release with file_unmap. An empty file has data NULL and size 0.
 * Directories and other non-regular files are refused by name. */
struct file_map {
    const uint8_t *data;
    size_t size;
};
bool file_map_open(struct file_map *map, const char *path, struct error *error);
void file_map_close(struct file_map *map);

/* Appends the whole file to *out; gzip is recognised by its first bytes; "-" reads stdin. More than `limit` bytes
 * (after unpacking; 0: no limit) is an error. A gzip stream cut short is an error. */
bool file_read(struct text *out, const char *path, size_t limit, struct error *error);

/* A stream of bytes from a plain or gzip file (recognised by content) or "-" for stdin. */
struct file_reader;
bool file_reader_open(struct file_reader **reader, const char *path, struct error *error);
/* Reads up to `capacity` bytes into buffer; *got 0 at the end of the file. */
bool file_reader_read(struct file_reader *reader, void *buffer, size_t capacity, size_t *got, struct error *error);
/* Bytes of the file itself consumed so far, and its size (0 if unknown): for progress. */
void file_reader_position(const struct file_reader *reader, uint64_t *consumed, uint64_t *size);
void file_reader_close(struct file_reader *reader);

/* An atomic write: bytes go to PATH.partial-PID, and file_writer_commit flushes, fsyncs and renames. Without a commit
 * file_writer_close removes the partial file, so a full disk or a crash leaves the old file as it was.
 * A path that ends in ".gz" is compressed (level 6, no time stamp: same content, same bytes). */
struct file_writer;
bool file_writer_open(struct file_writer **writer, const char *path, struct error *error);
bool file_writer_write(struct file_writer *writer, const void *bytes, size_t length, struct error *error);
bool file_writer_commit(struct file_writer *writer,
                        struct error *error);       /* closes too on success; then call close anyway */
void file_writer_close(struct file_writer *writer); /* NULL is fine */

/* file_writer in one call. */
bool file_write(const char *path, const void *bytes, size_t length, struct error *error);

bool path_is_directory(const char *path);
bool path_exists(const char *path);
/* True also when there is no such directory. Entries that begin with a dot do not count. */
bool directory_is_empty(const char *path);
/* Makes the directory and its parents; an existing directory is fine. */
bool directory_create(const char *path, struct error *error);
/* "DIR/NAME" into out; false if it does not fit. */
bool path_join(char *out, size_t capacity, const char *directory, const char *name);

#endif
