/* Files: maps, whole reads, plain and gzip streams, and atomic writes. */
#include "base/file.h"
#include "base/error.h"
#include "base/memory.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* Opens a regular file (or, with pipes allowed, a pipe) for reading; a directory is refused by name. */
static bool open_for_reading(const char *path, bool pipes, int *descriptor, struct stat *status, struct error *error) {
    *descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (*descriptor < 0) return error_system(error, "%s", path);
    if (fstat(*descriptor, status) != 0) {
        error_system(error, "%s", path);
    } else if (S_ISDIR(status->st_mode)) {
        error_set(error, "%s: is a directory, expected a file", path);
    } else if (!S_ISREG(status->st_mode) && !pipes) {
        error_set(error, "%s: is not a regular file", path);
    } else {
        return true;
    }
    close(*descriptor);
    return false;
}

bool file_map_open(struct file_map *map, const char *path, struct error *error) {
    int descriptor;
    struct stat status;
    *map = (struct file_map){0};
    if (!open_for_reading(path, false, &descriptor, &status, error)) return false;
    const size_t size = (size_t)status.st_size;
    if (size > 0) {
        void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
        if (data == MAP_FAILED) {
            error_system(error, "%s: cannot map %zu bytes", path, size);
            close(descriptor);
            return false;
        }
        *map = (struct file_map){data, size};
    }
    close(descriptor);
    return true;
}

void file_map_close(struct file_map *map) {
    if (map->data != NULL) munmap((void *)(uintptr_t)map->data, map->size);
    *map = (struct file_map){0};
}

enum { READ_BUFFER = 1 << 18 };

struct file_reader {
    char *path;
    int descriptor;
    uint64_t size, consumed;
    bool gzip, end_of_file, stream_open;
    z_stream inflater;
    unsigned char *buffer; /* READ_BUFFER bytes of the file */
    size_t start, end;     /* what is left of them */
};

static bool fill_buffer(struct file_reader *reader, struct error *error) {
    if (reader->start < reader->end || reader->end_of_file) return true;
    ssize_t got;
    do {
        got = read(reader->descriptor, reader->buffer, READ_BUFFER);
    } while (got < 0 && errno == EINTR);
    if (got < 0) return error_system(error, "%s: read failed", reader->path);
    reader->start = 0;
    reader->end = (size_t)got;
    reader->consumed += (uint64_t)got;
    reader->end_of_file = got == 0;
    return true;
}

bool file_reader_open(struct file_reader **out, const char *path, struct error *error) {
    struct file_reader *reader = memory_zero(1, sizeof *reader);
    if (reader == NULL) return memory_error(error, sizeof *reader, path);
    reader->descriptor = -1;
    const bool standard_input = strcmp(path, "-") == 0;
    reader->path =
        memory_copy_string(standard_input ? "standard input" : path, strlen(standard_input ? "standard input" : path));
    reader->buffer = memory_alloc(READ_BUFFER, 1);
    bool opened = reader->path != NULL && reader->buffer != NULL;
    if (!opened) memory_error(error, READ_BUFFER, path);
    if (opened && standard_input) {
        reader->descriptor = STDIN_FILENO;
    } else if (opened) {
        struct stat status = {0};
        opened = open_for_reading(path, true, &reader->descriptor, &status, error);
        if (!opened)
            reader->descriptor = -1;
        else if (S_ISREG(status.st_mode))
            reader->size = (uint64_t)status.st_size;
    }
    opened = opened && fill_buffer(reader, error);
    reader->gzip = opened && reader->end >= 2 && reader->buffer[0] == 0x1f && reader->buffer[1] == 0x8b;
    if (opened && reader->gzip) {
        opened = inflateInit2(&reader->inflater, 15 + 16) == Z_OK;
        reader->stream_open = opened;
        if (!opened) memory_error(error, 1 << 16, "a gzip stream");
    }
    if (!opened) {
        file_reader_close(reader);
        return false;
    }
    *out = reader;
    return true;
}

static bool inflate_some(struct file_reader *reader, void *buffer, size_t capacity, size_t *got, struct error *error) {
    z_stream *z = &reader->inflater;
    z->next_out = buffer;
    z->avail_out = capacity > UINT_MAX ? UINT_MAX : (uInt)capacity;
    const uInt room = z->avail_out;
    while (z->avail_out == room) {
        if (!fill_buffer(reader, error)) return false;
        if (reader->start == reader->end) {
            /* total_in is reset between members, so anything in it means that the last one is unfinished. */
            if (z->total_in == 0) break;
            error_set(error, "%s: the gzip stream is cut short", reader->path);
            return error_hint(error, "copy or download the file again");
        }
        z->next_in = reader->buffer + reader->start;
        z->avail_in = (uInt)(reader->end - reader->start);
        const int status = inflate(z, Z_NO_FLUSH);
        reader->start = reader->end - z->avail_in;
        if (status == Z_STREAM_END) {
            if (inflateReset(z) != Z_OK) return error_set(error, "%s: the gzip stream cannot be read", reader->path);
        } else if (status != Z_OK && status != Z_BUF_ERROR) {
            return error_set(error, "%s: the gzip stream is damaged: %s", reader->path,
                             z->msg == NULL ? "no reason given" : z->msg);
        }
    }
    *got = room - z->avail_out;
    return true;
}

bool file_reader_read(struct file_reader *reader, void *buffer, size_t capacity, size_t *got, struct error *error) {
    *got = 0;
    if (capacity == 0) return true;
    if (reader->gzip) return inflate_some(reader, buffer, capacity, got, error);
    if (!fill_buffer(reader, error)) return false;
    const size_t left = reader->end - reader->start, taken = left < capacity ? left : capacity;
    memcpy(buffer, reader->buffer + reader->start, taken);
    reader->start += taken;
    *got = taken;
    return true;
}

void file_reader_position(const struct file_reader *reader, uint64_t *consumed, uint64_t *size) {
    *consumed = reader->consumed - (reader->end - reader->start);
    *size = reader->size;
}

void file_reader_close(struct file_reader *reader) {
    if (reader == NULL) return;
    if (reader->stream_open) inflateEnd(&reader->inflater);
    if (reader->descriptor > STDIN_FILENO) close(reader->descriptor);
    memory_free(reader->buffer);
    memory_free(reader->path);
    memory_free(reader);
}

bool file_read(struct text *out, const char *path, size_t limit, struct error *error) {
    struct file_reader *reader;
    if (!file_reader_open(&reader, path, error)) return false;
    char *piece = memory_alloc(READ_BUFFER, 1);
    bool done = piece != NULL || memory_error(error, READ_BUFFER, path);
    const size_t before = out->length;
    for (size_t got = 1; done && got > 0;) {
        done = file_reader_read(reader, piece, READ_BUFFER, &got, error);
        if (done && limit > 0 && out->length - before + got > limit) {
            done = error_set(error, "%s: more than %zu bytes, the most that is read here", reader->path, limit);
        }
        if (done) text_append(out, piece, got);
        done = done && text_ok(out, error);
    }
    memory_free(piece);
    file_reader_close(reader);
    return done;
}

struct file_writer {
    char *path, *partial;
    int descriptor;
    bool gzip, stream_open, committed;
    z_stream deflater;
    unsigned char *buffer; /* READ_BUFFER bytes on their way to the disk */
    size_t held;
};

static bool write_all(struct file_writer *writer, const void *bytes, size_t length, struct error *error) {
    const char *from = bytes;
    while (length > 0) {
        const ssize_t written = write(writer->descriptor, from, length);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return error_system(error, "%s: write failed", writer->path);
        from += written;
        length -= (size_t)written;
    }
    return true;
}

static bool flush_held(struct file_writer *writer, struct error *error) {
    const size_t held = writer->held;
    writer->held = 0;
    return write_all(writer, writer->buffer, held, error);
}

static bool writer_parts(struct file_writer *writer, const char *path, struct error *error) {
    const size_t length = strlen(path);
    writer->path = memory_copy_string(path, length);
    writer->partial = memory_alloc(length + 32, 1);
    writer->buffer = memory_alloc(READ_BUFFER, 1);
    if (writer->path == NULL || writer->partial == NULL || writer->buffer == NULL)
        return memory_error(error, READ_BUFFER, path);
    if (path_is_directory(path)) return error_set(error, "%s: is a directory, expected a file to write", path);
    snprintf(writer->partial, length + 32, "%s.partial-%ld", path, (long)getpid());
    writer->descriptor = open(writer->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (writer->descriptor < 0) return error_system(error, "%s: cannot be written", path);
    writer->gzip = length > 3 && strcmp(path + length - 3, ".gz") == 0;
    if (!writer->gzip) return true;
    writer->stream_open = deflateInit2(&writer->deflater, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK;
    return writer->stream_open || memory_error(error, 1 << 18, "a gzip stream");
}

bool file_writer_open(struct file_writer **out, const char *path, struct error *error) {
    struct file_writer *writer = memory_zero(1, sizeof *writer);
    if (writer == NULL) return memory_error(error, sizeof *writer, path);
    writer->descriptor = -1;
    if (!writer_parts(writer, path, error)) {
        file_writer_close(writer);
        return false;
    }
    *out = writer;
    return true;
}

static bool deflate_some(struct file_writer *writer, const void *bytes, size_t length, int flush, struct error *error) {
    z_stream *z = &writer->deflater;
    const unsigned char *from = bytes;
    do {
        const size_t piece = length > 1 << 30 ? 1 << 30 : length;
        z->next_in = (unsigned char *)(uintptr_t)from;
        z->avail_in = (uInt)piece;
        from += piece;
        length -= piece;
        do {
            z->next_out = writer->buffer;
            z->avail_out = READ_BUFFER;
            deflate(z, length > 0 ? Z_NO_FLUSH : flush);
            if (!write_all(writer, writer->buffer, READ_BUFFER - z->avail_out, error)) return false;
        } while (z->avail_out == 0);
    } while (length > 0);
    return true;
}

bool file_writer_write(struct file_writer *writer, const void *bytes, size_t length, struct error *error) {
    if (length == 0) return true;
    if (writer->gzip) return deflate_some(writer, bytes, length, Z_NO_FLUSH, error);
    if (writer->held + length > READ_BUFFER && !flush_held(writer, error)) return false;
    if (length > READ_BUFFER) return write_all(writer, bytes, length, error);
    memcpy(writer->buffer + writer->held, bytes, length);
    writer->held += length;
    return true;
}

bool file_writer_commit(struct file_writer *writer, struct error *error) {
    if (writer->gzip && !deflate_some(writer, NULL, 0, Z_FINISH, error)) return false;
    if (!flush_held(writer, error)) return false;
    if (fsync(writer->descriptor) != 0) return error_system(error, "%s: write failed", writer->path);
    const int descriptor = writer->descriptor;
    writer->descriptor = -1;
    if (close(descriptor) != 0) return error_system(error, "%s: write failed", writer->path);
    if (rename(writer->partial, writer->path) != 0)
        return error_system(error, "%s: cannot be put in place", writer->path);
    writer->committed = true;
    return true;
}

void file_writer_close(struct file_writer *writer) {
    if (writer == NULL) return;
    if (writer->descriptor >= 0) close(writer->descriptor);
    if (writer->partial != NULL && !writer->committed && writer->partial[0] != '\0') unlink(writer->partial);
    if (writer->stream_open) deflateEnd(&writer->deflater);
    memory_free(writer->buffer);
    memory_free(writer->partial);
    memory_free(writer->path);
    memory_free(writer);
}

bool file_write(const char *path, const void *bytes, size_t length, struct error *error) {
    struct file_writer *writer;
    if (!file_writer_open(&writer, path, error)) return false;
    const bool done = file_writer_write(writer, bytes, length, error) && file_writer_commit(writer, error);
    file_writer_close(writer);
    return done;
}

bool path_is_directory(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

bool path_exists(const char *path) {
    struct stat status;
    return stat(path, &status) == 0;
}

bool directory_is_empty(const char *path) {
    DIR *directory = opendir(path);
    if (directory == NULL) return true;
    bool empty = true;
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory))
        empty = empty && entry->d_name[0] == '.';
    closedir(directory);
    return empty;
}

bool directory_create(const char *path, struct error *error) {
    char partial[PATH_MAX];
    const size_t length = strlen(path);
    if (length == 0 || length >= sizeof partial) return error_set(error, "'%s': no path for a directory", path);
    memcpy(partial, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (partial[i] != '/' && partial[i] != '\0') continue;
        const char kept = partial[i];
        partial[i] = '\0';
        if (mkdir(partial, 0755) != 0 && !path_is_directory(partial)) {
            if (errno == EEXIST) return error_set(error, "%s: is a file, expected a directory", partial);
            return error_system(error, "%s: cannot be made", partial);
        }
        partial[i] = kept;
    }
    return true;
}

bool path_join(char *out, size_t capacity, const char *directory, const char *name) {
    const size_t length = strlen(directory);
    const char *between = length > 0 && directory[length - 1] == '/' ? "" : "/";
    const int written = snprintf(out, capacity, "%s%s%s", directory, between, name);
    return written >= 0 && (size_t)written < capacity;
}
