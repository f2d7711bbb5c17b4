/* A folder of a test's own. */
#include "folder.h"
#include "base/log.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[512];

int folder_make(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "%s/casemix-test-XXXXXX", getenv("TMPDIR") == NULL ? "/tmp" : getenv("TMPDIR"));
    log_quiet(true);
    return mkdtemp(folder) == NULL;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *place) {
    (void)status;
    (void)type;
    (void)place;
    return remove(path);
}

int folder_remove(void **state) {
    (void)state;
    return nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *folder_path(const char *name) {
    static char paths[8][1024];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

const char *folder_write(const char *name, const void *bytes, size_t length) {
    const char *path = folder_path(name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, length, file) != length || fclose(file) != 0) abort();
    return path;
}

const char *folder_write_text(const char *name, const char *text) {
    return folder_write(name, text, strlen(text));
}

bool files_equal(const char *a, const char *b) {
    FILE *left = fopen(a, "rb"), *right = fopen(b, "rb");
    bool equal = left != NULL && right != NULL;
    for (int x = 0; equal && x != EOF;) {
        x = fgetc(left);
        equal = x == fgetc(right);
    }
    if (left != NULL) fclose(left);
    if (right != NULL) fclose(right);
    return equal;
}
