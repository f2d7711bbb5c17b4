/* Files that come with the program: see shipped.h. */
#include "base/shipped.h"
#include "base/file.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool shipped_find(char *path, size_t capacity, const char *name) {
    static const char *const places[] = {"..", "../share/casemix"};
    char program[4096], place[4200];
    if (path_is_directory(name)) return (size_t)snprintf(path, capacity, "%s", name) < capacity;
    const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0) return false;
    program[length] = '\0';
    char *slash = strrchr(program, '/');
    if (slash != NULL) *slash = '\0';
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (path_join(place, sizeof place, program, places[i]) && path_join(path, capacity, place, name) &&
            path_is_directory(path))
            return true;
    }
    return false;
}
