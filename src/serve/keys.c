/* The file of API keys. It is read whole and written whole (atomically), by hand or by `casemix key`. */
#include "serve/keys.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/text.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#define FILE_LIMIT ((size_t)1 << 20)
#define PREFIX "casemix_"

const char *role_name(enum role role) {
    static const char *const names[] = {"", "code", "review", "admin"};
    return names[role];
}

bool role_parse(const char *name, enum role *role, struct error *error) {
    for (int i = ROLE_CODE; i <= ROLE_ADMIN; i++) {
        *role = (enum role)i;
        if (strcmp(name, role_name(*role)) == 0) return true;
    }
    error_usage(error, "there is no role \"%s\"", name);
    return error_hint(error, "roles are code, review and admin; each may do what those before it may");
}

static bool name_is_good(const char *name) {
    const size_t length = strlen(name);
    if (length == 0 || length >= KEY_NAME) return false;
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)name[i]) && strchr("._@-", name[i]) == NULL) return false;
    }
    return true;
}

static bool hash_is_good(const char *hash) {
    return strlen(hash) == 64 && strspn(hash, "0123456789abcdef") == 64;
}

static bool add_key(struct keys *keys, const char *name, enum role role, const char *hash, const char *made,
                    struct error *error) {
    for (size_t i = 0; i < keys->count; i++) {
        if (strcmp(keys->items[i].who.name, name) == 0) return error_set(error, "the name \"%s\" has a key", name);
    }
    if (!memory_grow(&keys->items, &keys->capacity, keys->count + 1, sizeof *keys->items, error)) return false;
    struct key *key = &keys->items[keys->count++];
    *key = (struct key){.who.role = role};
    snprintf(key->who.name, sizeof key->who.name, "%s", name);
    snprintf(key->hash, sizeof key->hash, "%s", hash);
    snprintf(key->made, sizeof key->made, "%s", made);
    return true;
}

static bool read_line(struct keys *keys, char *line, struct error *error) {
    char name[KEY_NAME] = "", role[16] = "", hash[80] = "", made[16] = "";
    enum role value;
    line[strcspn(line, "#\r")] = '\0';
    const int parts = sscanf(line, "%64s %15s %79s %15s", name, role, hash, made);
    if (parts <= 0) return true;
    if (parts < 3 || !name_is_good(name) || !hash_is_good(hash)) {
        error_set(error, "not a key: expected name, role, SHA-256 of the key");
        return error_hint(error, "`casemix key new ROLE NAME --keys FILE` writes such lines");
    }
    made[10] = '\0';
    return role_parse(role, &value, error) && add_key(keys, name, value, hash, made, error);
}

static bool read_lines(struct keys *keys, const char *path, char *bytes, struct error *error) {
    size_t number = 1;
    for (char *line = bytes, *next; line != NULL; line = next, number++) {
        next = strchr(line, '\n');
        if (next != NULL) *next++ = '\0';
        if (!read_line(keys, line, error)) return error_context(error, "%s, line %zu", path, number);
    }
    return true;
}

bool keys_load(struct keys *keys, const char *path, struct error *error) {
    struct stat status;
    struct text text = {0};
    *keys = (struct keys){0};
    if (stat(path, &status) != 0) {
        error_system(error, "%s: the file of keys cannot be read", path);
        return error_hint(error, "`casemix key new admin NAME --keys %s` makes one", path);
    }
    if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        error_set(error, "%s: others than its owner may write this file of keys", path);
        return error_hint(error, "chmod 600 %s", path);
    }
    const bool done = file_read(&text, path, FILE_LIMIT, error) &&
                      (text.data == NULL || memchr(text.data, '\0', text.length) == NULL ||
                       error_set(error, "%s: a NUL byte, so this is no file of keys", path)) &&
                      (text.data == NULL || read_lines(keys, path, text.data, error));
    text_free(&text);
    if (!done) keys_free(keys);
    return done;
}

void keys_free(struct keys *keys) {
    memory_free(keys->items);
    *keys = (struct keys){0};
}

/* Looks at every digit whatever it finds. */
static bool equal_hashes(const char a[65], const char b[65]) {
    volatile unsigned char difference = 0;
    for (int i = 0; i < 64; i++) difference = (unsigned char)(difference | (a[i] ^ b[i]));
    return difference == 0;
}

const struct principal *keys_find(const struct keys *keys, const char *key, size_t length) {
    const struct principal *found = NULL;
    char hash[65];
    sha256_hex(key, length, hash);
    for (size_t i = 0; i < keys->count; i++) {
        if (equal_hashes(keys->items[i].hash, hash)) found = &keys->items[i].who;
    }
    return found;
}

static bool write_file(const struct keys *keys, const char *path, struct error *error) {
    struct text text = {0};
    text_add(&text, "# name role SHA-256-of-the-key made; see `casemix key --help`\n");
    for (size_t i = 0; i < keys->count; i++) {
        const struct key *key = &keys->items[i];
        text_printf(&text, "%s %s %s %s\n", key->who.name, role_name(key->who.role), key->hash, key->made);
    }
    const mode_t before = umask(077);
    const bool done = text_ok(&text, error) && file_write(path, text.data, text.length, error);
    umask(before);
    text_free(&text);
    return done;
}

static bool draw_key(char key[KEY_LENGTH], struct error *error) {
    unsigned char bytes[32];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) return error_system(error, "random bytes");
    strcpy(key, PREFIX);
    for (size_t i = 0; i < sizeof bytes; i++) snprintf(key + strlen(PREFIX) + 2 * i, 3, "%02x", bytes[i]);
    return true;
}

bool keys_new(const char *path, enum role role, const char *name, char key[KEY_LENGTH], struct error *error) {
    struct keys keys = {0};
    char hash[65], made[11];
    const time_t now = time(NULL);
    struct tm day;
    if (!name_is_good(name)) {
        error_usage(error, "\"%s\" cannot be the name of a key", name);
        return error_hint(error, "up to 64 letters, digits and . _ @ -");
    }
    if (path_exists(path) && !keys_load(&keys, path, error)) return false;
    strftime(made, sizeof made, "%Y-%m-%d", gmtime_r(&now, &day));
    bool done = draw_key(key, error);
    if (done) sha256_hex(key, strlen(key), hash);
    done = done && (add_key(&keys, name, role, hash, made, error) || error_context(error, "%s", path)) &&
           write_file(&keys, path, error);
    keys_free(&keys);
    return done;
}

bool keys_remove(const char *path, const char *name, struct error *error) {
    struct keys keys;
    if (!keys_load(&keys, path, error)) return false;
    size_t kept = 0;
    for (size_t i = 0; i < keys.count; i++) {
        if (strcmp(keys.items[i].who.name, name) != 0) keys.items[kept++] = keys.items[i];
    }
    bool done = kept < keys.count || error_set(error, "%s: no key has the name \"%s\"", path, name);
    keys.count = kept;
    done = done && write_file(&keys, path, error);
    keys_free(&keys);
    return done;
}
