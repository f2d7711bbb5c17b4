/* The hash of a model: see model_files.h. */
#include "model/model_files.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"
#include "model/classifier.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

/* The files that decide what a model answers. */
static bool decides(const char *name) {
    static const char *const names[] = {
        "config.json",     "casemix.json", "adapter_config.json", "tokenizer.json",     "tokenizer_config.json",
        "tokenizer.model", "vocab.txt",    "words.txt",           "chat_template.jinja"};
    const size_t length = strlen(name), ending = strlen(".safetensors");
    if (length > ending && strcmp(name + length - ending, ".safetensors") == 0) return true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], name) == 0) return true;
    }
    return false;
}

static int is_wanted(const struct dirent *entry) {
    return decides(entry->d_name);
}

static bool hash_files(const char *directory, struct dirent **entries, int count, char out[65], struct error *error) {
    struct text list = {0};
    char path[4096], hash[65];
    bool done = true;
    for (int i = 0; done && i < count; i++) {
        done = (path_join(path, sizeof path, directory, entries[i]->d_name) ||
                error_set(error, "%s: path too long", directory)) &&
               sha256_file(path, hash, error);
        if (done) text_printf(&list, "%s  %s\n", hash, entries[i]->d_name);
    }
    done = done && text_ok(&list, error);
    if (done) sha256_hex(list.data == NULL ? "" : list.data, list.length, out);
    text_free(&list);
    return done;
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool hash_directory(const char *directory, char out[65], struct error *error) {
    struct dirent **entries;
    const int count = scandir(directory, &entries, is_wanted, by_name);
    if (count < 0) return error_system(error, "%s: cannot be read", directory);
    const bool done = hash_files(directory, entries, count, out, error);
    for (int i = 0; i < count; i++) free(entries[i]);
    free(entries);
    return done;
}

bool model_files_hash(const struct run_card *card, const char *directory, char sha256[65], char adapter_sha256[65],
                      struct error *error) {
    char base[4096];
    adapter_sha256[0] = '\0';
    if (card->base[0] == '\0') return hash_directory(directory, sha256, error);
    return run_card_base(card, directory, base, sizeof base, error) && hash_directory(base, sha256, error) &&
           hash_directory(directory, adapter_sha256, error);
}
