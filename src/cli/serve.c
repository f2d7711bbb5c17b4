/* casemix serve: flags to settings; the server is src/serve. */
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "base/threads.h"
#include "cli/commands.h"
#include "cli/shipped_models.h"
#include "serve/server.h"
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static void print_help(void) {
    puts("usage: casemix serve [--model RUN]… [--port 8080] [OPTIONS]\n\n"
         "Serves the workbench: a page for coders at / and an API (docs/serve.md, GET /openapi.json), until\n"
         "SIGTERM or Ctrl-C, which let what is under way end.\n\n"
         "  --model RUN             a run directory, or a causal Hugging Face model for completions; up to 8\n"
         "                          [tiny-classifier, as shipped]\n"
         "  --address A             an IP address to listen on; others than loopback need --keys [127.0.0.1]\n"
         "  --port N                0: any that is free [8080]\n"
         "  --name HOST             a name by which clients call the server; up to 16\n"
         "  --keys FILE             API keys, as `casemix key` writes them; without it loopback needs none\n"
         "  --certificate FILE      PEM, for HTTPS, with --certificate-key FILE\n"
         "  --store FILE            audit trail, reviews and ratings, made where it is not there\n"
         "                          [casemix.sqlite]\n"
         "  --store-notes           also keeps the text of notes\n"
         "  --retention DAYS        forgets what is older; 0: nothing [0]\n"
         "  --queue N               notes and generations that may wait; beyond it clients get 429 [256]\n"
         "  --timeout SECONDS       that a note may wait [60]\n"
         "  --batch-limit MIB       of an upload [64]\n"
         "  --connections N         at once [512]\n"
         "  --cache-tokens N        positions that a causal model keeps [16384]\n"
         "  --compute TYPE          auto, f32, bf16, int8 [auto]; --int8-cache DIR keeps the int8 form\n"
         "  --threads N             [all processors]\n\n"
         "  casemix serve --model models/tiny-classifier --port 8080\n"
         "  casemix key new admin ann --keys keys && casemix serve --address 0.0.0.0 --keys keys \\\n"
         "      --certificate chain.pem --certificate-key key.pem --name drg.example.org");
}

enum option_name {
    MODEL = 1,
    ADDRESS,
    PORT,
    NAME,
    KEYS,
    CERTIFICATE,
    CERTIFICATE_KEY,
    STORE,
    STORE_NOTES,
    RETENTION,
    QUEUE,
    TIMEOUT,
    BATCH_LIMIT,
    CONNECTIONS,
    CACHE_TOKENS,
    COMPUTE,
    INT8_CACHE,
    THREADS,
    HELP
};

static bool read_whole(const char *option, const char *value, int64_t low, int64_t high, int64_t *number,
                       struct error *error) {
    return (parse_int64(value, number) && *number >= low && *number <= high) ||
           error_usage(error, "--%s takes a whole number from %lld to %lld, not \"%s\"", option, (long long)low,
                       (long long)high, value);
}

static bool read_number(enum option_name option, const char *value, struct server_settings *settings,
                        struct error *error) {
    int64_t number = 0;
    switch (option) {
    case PORT:
        return read_whole("port", value, 0, 65535, &settings->port, error);
    case RETENTION:
        return read_whole("retention", value, 0, 36500, &settings->retention_days, error);
    case QUEUE:
        return read_whole("queue", value, 1, 1 << 20, &settings->queue, error);
    case TIMEOUT:
        return read_whole("timeout", value, 1, 86400, &settings->timeout, error);
    case BATCH_LIMIT:
        if (!read_whole("batch-limit", value, 1, 4096, &number, error)) return false;
        settings->batch_limit = number << 20;
        return true;
    case CONNECTIONS:
        return read_whole("connections", value, 4, 65536, &settings->connections, error);
    case CACHE_TOKENS:
        return read_whole("cache-tokens", value, 256, 1 << 24, &settings->cache_tokens, error);
    default:
        if (!read_whole("threads", value, 1, 1024, &number, error)) return false;
        threads_set((int)number);
        return true;
    }
}

static bool read_option(enum option_name option, const char *value, struct server_settings *settings,
                        struct error *error) {
    switch (option) {
    case MODEL:
        if (settings->model_count == SERVER_MODELS) return error_usage(error, "more than %d --model", SERVER_MODELS);
        settings->models[settings->model_count++] = value;
        return true;
    case ADDRESS:
        settings->address = value;
        return true;
    case NAME:
        if (settings->name_count == SERVER_NAMES) return error_usage(error, "more than %d --name", SERVER_NAMES);
        settings->names[settings->name_count++] = value;
        return true;
    case KEYS:
        settings->keys = value;
        return true;
    case CERTIFICATE:
        settings->certificate = value;
        return true;
    case CERTIFICATE_KEY:
        settings->certificate_key = value;
        return true;
    case STORE:
        settings->store = value;
        return true;
    case STORE_NOTES:
        settings->store_notes = true;
        return true;
    case COMPUTE:
        return compute_parse(value, &settings->compute, error);
    case INT8_CACHE:
        settings->int8_cache = value;
        return true;
    default:
        return read_number(option, value, settings, error);
    }
}

static bool read_options(int argc, char **argv, struct server_settings *settings, bool *help, struct error *error) {
    static const struct option names[] = {{"model", 1, 0, MODEL},
                                          {"address", 1, 0, ADDRESS},
                                          {"port", 1, 0, PORT},
                                          {"name", 1, 0, NAME},
                                          {"keys", 1, 0, KEYS},
                                          {"certificate", 1, 0, CERTIFICATE},
                                          {"certificate-key", 1, 0, CERTIFICATE_KEY},
                                          {"store", 1, 0, STORE},
                                          {"store-notes", 0, 0, STORE_NOTES},
                                          {"retention", 1, 0, RETENTION},
                                          {"queue", 1, 0, QUEUE},
                                          {"timeout", 1, 0, TIMEOUT},
                                          {"batch-limit", 1, 0, BATCH_LIMIT},
                                          {"connections", 1, 0, CONNECTIONS},
                                          {"cache-tokens", 1, 0, CACHE_TOKENS},
                                          {"compute", 1, 0, COMPUTE},
                                          {"int8-cache", 1, 0, INT8_CACHE},
                                          {"threads", 1, 0, THREADS},
                                          {"help", 0, 0, HELP},
                                          {0, 0, 0, 0}};
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (option == '?') {
            error_usage(error, "serve: unknown option or missing value: %s", argv[optind - 1]);
            return error_hint(error, "casemix serve --help");
        }
        if (option == HELP) {
            *help = true;
            return true;
        }
        if (!read_option((enum option_name)option, optarg, settings, error)) return false;
    }
    if (optind < argc) return error_usage(error, "serve takes no \"%s\"", argv[optind]);
    if (settings->model_count == 0) settings->models[settings->model_count++] = shipped_model_default();
    return true;
}

bool command_serve(int argc, char **argv, struct error *error) {
    struct server_settings settings = {.address = "127.0.0.1",
                                       .port = 8080,
                                       .store = "casemix.sqlite",
                                       .queue = 256,
                                       .batch_limit = 64 << 20,
                                       .connections = 512,
                                       .cache_tokens = 16384,
                                       .timeout = 60,
                                       .compute = COMPUTE_AUTO,
                                       .version = CASEMIX_VERSION};
    struct server *server;
    char url[128];
    bool help = false;
    sigset_t signals;
    if (!read_options(argc, argv, &settings, &help, error)) return false;
    if (help) {
        print_help();
        return true;
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    if (!server_open(&server, &settings, error)) return false;
    server_url(server, url, sizeof url);
    printf("%s\n", url);
    fflush(stdout);
    log_info("casemix serves at %s; Ctrl-C ends it", url);
    const bool done = server_run(server, error);
    server_close(server);
    return done;
}
