/* Shipped models by name: see shipped_models.h. */
#include "cli/shipped_models.h"
#include "base/file.h"
#include "base/shipped.h"
#include <stdio.h>
#include <string.h>

/* As many as a command takes. Paths live as long as the process. */
enum { MODELS = 16, PATH_SIZE = 4096 };
static char paths[MODELS][PATH_SIZE];
static size_t used;

const char *shipped_model_default(void) {
    static char path[PATH_SIZE];
    static const char name[] = "models/tiny-classifier";
    return shipped_find(path, sizeof path, name) ? path : name;
}

/* The option's value, or what stands for it. `before` is written in front: "--model=" or nothing. */
static char *resolve(char *argument, char *value, const char *before) {
    char name[256], found[PATH_SIZE];
    const char *last = strncmp(value, "models/", 7) == 0 ? value + 7 : value;
    if (used == MODELS || last[0] == '\0' || last[0] == '.' || strchr(last, '/') != NULL || path_exists(value))
        return argument;
    if ((size_t)snprintf(name, sizeof name, "models/%s", last) >= sizeof name) return argument;
    if (!shipped_find(found, sizeof found, name)) return argument;
    if ((size_t)snprintf(paths[used], PATH_SIZE, "%s%s", before, found) >= PATH_SIZE) return argument;
    return paths[used++];
}

void shipped_models_resolve(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--model") == 0 && i + 1 < argc) {
            argv[i + 1] = resolve(argv[i + 1], argv[i + 1], "");
            i++;
        } else if (strncmp(argv[i], "--model=", 8) == 0) {
            argv[i] = resolve(argv[i], argv[i] + 8, "--model=");
        }
    }
}
