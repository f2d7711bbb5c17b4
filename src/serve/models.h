/* The models that are served: classifiers with their coders, causal models with their writers. */
#ifndef CASEMIX_SERVE_MODELS_H
#define CASEMIX_SERVE_MODELS_H

#include "generate/answerer.h"
#include "model/classifier.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chat;
struct coder;
struct error;
struct explainer;
struct models;
struct server;
struct writer;

struct served {
    char id[128]; /* the last part of its directory; with "-2" behind it if another has that */
    const char *directory;
    bool generative;
    enum grouper grouper;
    int64_t created;                     /* seconds since 1970: when the directory's weights were written */
    char sha256[65], adapter_sha256[65]; /* model_files_hash; the second "" without an adapter */
    struct classifier classifier;        /* unless generative: then only its card, if there is one */
    struct coder *coder;
    struct explainer *explainer; /* of a classifier */
    struct answerer answerer;    /* generative */
    struct chat *chat;           /* NULL: it has no chat template */
    bool has_trie;
    struct writer *writer;
};

/* Opens all models of the settings and starts their threads. */
bool models_open(struct models **models, struct server *server, struct error *error);
/* Ends the threads, after they have answered what waits. */
void models_stop(struct models *models);
void models_close(struct models *models);

size_t models_count(const struct models *models);
struct served *models_at(struct models *models, size_t i);
/* The model with this id; NULL: none. */
struct served *models_find(struct models *models, const char *id);
/* The first that codes notes, or the first that writes. NULL: none. */
struct served *models_first(struct models *models, bool generative);

/* Notes and generations that wait, of all models. */
size_t models_waiting(struct models *models);

#endif
