/* API keys: a file of names, roles and SHA-256s of keys; the keys themselves are nowhere but with their holders.
 *
 * A key is 256 random bits, so that a plain hash is enough: there is nothing to guess. One line a key: name, role,
 * hash, the day it was made; '#' begins a comment. */
#ifndef CASEMIX_SERVE_KEYS_H
#define CASEMIX_SERVE_KEYS_H

#include <stdbool.h>
#include <stddef.h>

struct error;

/* Each role may do what those before it may. */
enum role { ROLE_NONE, ROLE_CODE, ROLE_REVIEW, ROLE_ADMIN };
const char *role_name(enum role role); /* "", "code", "review", "admin" */
bool role_parse(const char *name, enum role *role, struct error *error);

enum { KEY_NAME = 65, KEY_LENGTH = 73 }; /* with their NULs */

/* Who sends a request. */
struct principal {
    char name[KEY_NAME];
    enum role role;
};

struct keys {
    struct key {
        struct principal who;
        char hash[65];
        char made[11]; /* 2026-11-25 */
    } * items;
    size_t count, capacity;
};

/* Reads a file of keys. A file that others than its owner may write is refused. */
bool keys_load(struct keys *keys, const char *path, struct error *error);
void keys_free(struct keys *keys);

/* The holder of a key, NULL if there is none. Takes the same time for every key. */
const struct principal *keys_find(const struct keys *keys, const char *key, size_t length);

/* Makes a key for a name that has none yet and adds it to the file, which need not be there. */
bool keys_new(const char *path, enum role role, const char *name, char key[KEY_LENGTH], struct error *error);
/* Takes a name's key out of the file. */
bool keys_remove(const char *path, const char *name, struct error *error);

#endif
