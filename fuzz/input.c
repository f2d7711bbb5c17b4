/* Inputs as files that never touch a disk. What cannot be set up here is a fault of the machine, not of a parser: the
 * process says so and stops. */
#include "input.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void stop(const char *what) {
    perror(what);
    _exit(2);
}

static void write_all(int file, const void *bytes, size_t length) {
    for (size_t done = 0; done < length;) {
        const ssize_t written = write(file, (const char *)bytes + done, length - done);
        if (written <= 0) stop("writing an input");
        done += (size_t)written;
    }
}

const char *input_file(const uint8_t *bytes, size_t length) {
    static int file = -1;
    static char path[64];
    if (file < 0) {
        file = memfd_create("input", MFD_CLOEXEC);
        if (file < 0) stop("memfd_create");
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    }
    if (ftruncate(file, 0) != 0 || lseek(file, 0, SEEK_SET) != 0) stop("emptying an input");
    write_all(file, bytes, length);
    return path;
}

static char folder[512];

static void remove_folder(void) {
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0) perror(folder);
}

const char *input_folder(void) {
    if (folder[0] != '\0') return folder;
    const char *temporary = getenv("TMPDIR");
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : temporary == NULL ? "/tmp" : temporary;
    snprintf(folder, sizeof folder, "%s/casemix-fuzz-XXXXXX", base);
    if (mkdtemp(folder) == NULL) stop(folder);
    atexit(remove_folder);
    return folder;
}

void input_folder_write(const char *name, const void *bytes, size_t length) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s", input_folder(), name);
    const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0) stop(path);
    write_all(file, bytes, length);
    close(file);
}

void input_touch(const void *bytes, size_t length) {
    static volatile unsigned char sink;
    unsigned char sum = 0;
    for (size_t i = 0; i < length; i++) sum = (unsigned char)(sum + ((const unsigned char *)bytes)[i]);
    sink = sum;
    (void)sink;
}
