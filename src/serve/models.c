/* Opening what is served. */
#include "serve/models.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "model/model_files.h"
#include "serve/coder.h"
#include "serve/explainer.h"
#include "serve/server.h"
#include "serve/turns.h"
#include "serve/writer.h"
#include "tokenizer/chat.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct models {
    struct served items[SERVER_MODELS];
    size_t count;
    struct turns compute;
};

static bool hash_model(struct served *served, struct error *error) {
    struct stat status;
    if (stat(served->directory, &status) == 0) served->created = status.st_mtim.tv_sec;
    return model_files_hash(&served->classifier.card, served->directory, served->sha256, served->adapter_sha256, error);
}

/* The last part of a path, and a number if there is another of that name. */
static void name_model(const struct models *models, struct served *served) {
    char *real = realpath(served->directory, NULL);
    const char *path = real == NULL ? served->directory : real, *slash = strrchr(path, '/');
    int same = 1;
    snprintf(served->id, sizeof served->id, "%.100s", slash == NULL ? path : slash + 1);
    for (size_t i = 0; i < models->count; i++) same += strcmp(models->items[i].id, served->id) == 0;
    if (same > 1) {
        const size_t length = strlen(served->id);
        snprintf(served->id + length, sizeof served->id - length, "-%d", same);
    }
    free(real);
}

static bool open_classifier(struct models *models, struct served *served, struct server *server, struct error *error) {
    const struct server_settings *settings = &server->settings;
    if (!classifier_open(&served->classifier, served->directory, error)) return false;
    served->grouper = served->classifier.card.grouper;
    return classifier_compute(&served->classifier, settings->compute,
                              settings->compute == COMPUTE_INT8 ? settings->int8_cache : NULL, error) &&
           hash_model(served, error) &&
           coder_open(&served->coder, &served->classifier, &models->compute, (size_t)settings->queue, server->counters,
                      error) &&
           explainer_open(&served->explainer, &served->classifier, &models->compute, (size_t)settings->queue, error);
}

/* The card of a run that writes names its base model, by which it is hashed. */
static bool load_card(struct served *served, struct error *error) {
    char path[4096];
    if (!path_join(path, sizeof path, served->directory, "casemix.json"))
        return error_set(error, "%s: path too long", served->directory);
    return !path_exists(path) || run_card_load(&served->classifier.card, served->directory, error);
}

static bool open_writer(struct models *models, struct served *served, struct server *server, struct error *error) {
    const struct server_settings *settings = &server->settings;
    const struct answerer_settings asked = {.model = served->directory,
                                            .otherwise = "answer",
                                            .compute = settings->compute,
                                            .int8_cache =
                                                settings->compute == COMPUTE_INT8 ? settings->int8_cache : NULL};
    struct answerer *answerer = &served->answerer;
    struct error none;
    served->generative = true;
    if (!load_card(served, error) || !answerer_open(answerer, &asked, error)) return false;
    served->grouper = answerer->catalog->grouper;
    if (!chat_open(&served->chat, answerer->tokenizer, served->directory, &none)) served->chat = NULL;
    served->has_trie = title_trie_open(&answerer->trie, answerer->tokenizer, served->grouper, &none);
    return hash_model(served, error) && writer_open(&served->writer, served, &models->compute, (size_t)settings->queue,
                                                    settings->cache_tokens, server->counters, error);
}

static bool open_model(struct models *models, struct server *server, const char *directory, struct error *error) {
    struct served *served = &models->items[models->count];
    char card[4096];
    served->directory = directory;
    name_model(models, served);
    models->count++;
    if (!path_is_directory(directory)) {
        error_set(error, "%s: no such model directory", directory);
        return error_hint(error, "--model takes a run directory, such as models/tiny-classifier");
    }
    if (answerer_fits(directory)) return open_writer(models, served, server, error);
    if (!path_join(card, sizeof card, directory, "casemix.json"))
        return error_set(error, "%s: path too long", directory);
    if (path_exists(card)) return open_classifier(models, served, server, error);
    error_set(error, "%s: neither a run nor a causal model", directory);
    return error_hint(error, "--model takes a directory that `casemix train` wrote, or a causal Hugging Face model");
}

bool models_open(struct models **out, struct server *server, struct error *error) {
    struct models *models = memory_zero(1, sizeof *models);
    if (models == NULL) return memory_error(error, sizeof *models, "the models");
    turns_open(&models->compute);
    *out = models;
    for (size_t i = 0; i < server->settings.model_count; i++) {
        if (!open_model(models, server, server->settings.models[i], error)) return false;
    }
    return true;
}

void models_stop(struct models *models) {
    if (models == NULL) return;
    for (size_t i = 0; i < models->count; i++) {
        coder_stop(models->items[i].coder);
        explainer_stop(models->items[i].explainer);
        writer_stop(models->items[i].writer);
    }
}

void models_close(struct models *models) {
    if (models == NULL) return;
    models_stop(models);
    for (size_t i = 0; i < models->count; i++) {
        struct served *served = &models->items[i];
        coder_close(served->coder);
        explainer_close(served->explainer);
        writer_close(served->writer);
        chat_close(served->chat);
        if (served->generative) {
            answerer_close(&served->answerer);
            run_card_free(&served->classifier.card);
        } else {
            classifier_close(&served->classifier);
        }
    }
    turns_close(&models->compute);
    memory_free(models);
}

size_t models_count(const struct models *models) {
    return models->count;
}

struct served *models_at(struct models *models, size_t i) {
    return &models->items[i];
}

struct served *models_find(struct models *models, const char *id) {
    for (size_t i = 0; i < models->count; i++) {
        if (strcmp(models->items[i].id, id) == 0) return &models->items[i];
    }
    return NULL;
}

struct served *models_first(struct models *models, bool generative) {
    for (size_t i = 0; i < models->count; i++) {
        if (models->items[i].generative == generative) return &models->items[i];
    }
    return NULL;
}

size_t models_waiting(struct models *models) {
    size_t count = 0;
    for (size_t i = 0; i < models->count; i++) {
        const struct served *served = &models->items[i];
        count += served->generative ? writer_waiting(served->writer)
                                    : coder_waiting(served->coder) + explainer_waiting(served->explainer);
    }
    return count;
}
