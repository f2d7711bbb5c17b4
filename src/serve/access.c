/* Host, Origin, keys and the lock. */
#include "serve/access.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "serve/request.h"
#include "serve/routes.h"
#include "serve/server.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* Wrong keys of one address within LOCK_SECONDS that lock it out for as long. */
enum { ADDRESSES = 1024, WRONG_KEYS = 10, LOCK_SECONDS = 60 };

/* An address that has sent a wrong key: of IPv6 the first 64 bits, which one subscriber has. */
struct guesser {
    unsigned char address[16];
    double first, locked_until;
    int wrong;
};

struct access {
    pthread_mutex_t mutex;
    const struct server_settings *settings;
    struct keys keys;
    struct timespec changed;
    struct guesser guessers[ADDRESSES]; /* a ring: the oldest makes room */
    size_t next;
};

static struct timespec time_of_change(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 ? status.st_mtim : (struct timespec){0};
}

bool access_open(struct access **out, const struct server_settings *settings, struct error *error) {
    struct access *access = memory_zero(1, sizeof *access);
    if (access == NULL) return memory_error(error, sizeof *access, "the table of keys");
    access->settings = settings;
    pthread_mutex_init(&access->mutex, NULL);
    *out = access;
    if (settings->keys == NULL) return true;
    access->changed = time_of_change(settings->keys);
    if (!keys_load(&access->keys, settings->keys, error)) return false;
    if (access->keys.count > 0) return true;
    error_set(error, "%s holds no key, so nobody could ask anything", settings->keys);
    return error_hint(error, "casemix key new admin NAME --keys %s", settings->keys);
}

void access_close(struct access *access) {
    if (access == NULL) return;
    keys_free(&access->keys);
    pthread_mutex_destroy(&access->mutex);
    memory_free(access);
}

bool access_has_keys(const struct access *access) {
    return access->settings->keys != NULL;
}

void access_refresh(struct access *access) {
    struct error error = {0};
    struct keys keys;
    if (access->settings->keys == NULL) return;
    const struct timespec changed = time_of_change(access->settings->keys);
    if (changed.tv_sec == access->changed.tv_sec && changed.tv_nsec == access->changed.tv_nsec) return;
    access->changed = changed;
    if (!keys_load(&keys, access->settings->keys, &error)) {
        log_warning("%s; the keys stay as they were", error.message);
        return;
    }
    pthread_mutex_lock(&access->mutex);
    struct keys before = access->keys;
    access->keys = keys;
    pthread_mutex_unlock(&access->mutex);
    keys_free(&before);
    log_info("%s: %zu keys", access->settings->keys, keys.count);
}

bool address_is_loopback(const struct sockaddr *address) {
    if (address->sa_family == AF_INET) {
        struct sockaddr_in four;
        memcpy(&four, address, sizeof four);
        return ntohl(four.sin_addr.s_addr) >> 24 == 127;
    }
    struct sockaddr_in6 six;
    memcpy(&six, address, sizeof six);
    return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&six.sin6_addr);
}

/* The name in "name:port" or "[::1]:port". */
static bool host_name(const char *host, char *name, size_t capacity) {
    const char *from = host[0] == '[' ? host + 1 : host;
    const size_t length = strcspn(from, host[0] == '[' ? "]" : ":");
    if (length == 0 || length >= capacity) return false;
    memcpy(name, from, length);
    name[length] = '\0';
    const char *rest = from + length;
    if (host[0] == '[' && *rest++ != ']') return false;
    return *rest == '\0' || (*rest == ':' && strspn(rest + 1, "0123456789") == strlen(rest + 1));
}

/* A name that an attacker's DNS can point here is none of ours; an address cannot be pointed anywhere. */
static bool host_is_ours(const struct server_settings *settings, const char *host) {
    char name[256];
    unsigned char address[16];
    if (host == NULL || !host_name(host, name, sizeof name)) return false;
    if (strcasecmp(name, "localhost") == 0 || inet_pton(AF_INET, name, address) == 1 ||
        inet_pton(AF_INET6, name, address) == 1)
        return true;
    for (size_t i = 0; i < settings->name_count; i++) {
        if (strcasecmp(settings->names[i], name) == 0) return true;
    }
    return false;
}

/* A browser names the page that sends a request; only our own may. */
static bool origin_is_ours(const struct request *request, const char *host) {
    const char *origin = request_header(request, "Origin"), *site = request_header(request, "Sec-Fetch-Site");
    const bool navigation = strcmp(request->route == NULL ? "" : request->route->path, "/") == 0;
    if (site != NULL && !navigation && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0) return false;
    if (origin == NULL) return true;
    const char *rest = strncmp(origin, "https://", 8) == 0  ? origin + 8
                       : strncmp(origin, "http://", 7) == 0 ? origin + 7
                                                            : NULL;
    return rest != NULL && strcasecmp(rest, host) == 0;
}

static void address_bytes(const struct sockaddr *client, unsigned char out[16]) {
    memset(out, 0, 16);
    if (client->sa_family == AF_INET) {
        struct sockaddr_in four;
        memcpy(&four, client, sizeof four);
        memcpy(out + 12, &four.sin_addr, 4);
    } else if (client->sa_family == AF_INET6) {
        struct sockaddr_in6 six;
        memcpy(&six, client, sizeof six);
        memcpy(out, &six.sin6_addr, 8);
    }
}

static struct guesser *find_guesser(struct access *access, const unsigned char address[16]) {
    for (size_t i = 0; i < ADDRESSES; i++) {
        struct guesser *guesser = &access->guessers[i];
        if (guesser->wrong > 0 && memcmp(guesser->address, address, 16) == 0) return guesser;
    }
    return NULL;
}

static void note_wrong_key(struct access *access, const unsigned char address[16]) {
    const double now = time_now();
    struct guesser *guesser = find_guesser(access, address);
    if (guesser == NULL) {
        guesser = &access->guessers[access->next];
        access->next = (access->next + 1) % ADDRESSES;
        *guesser = (struct guesser){.first = now};
        memcpy(guesser->address, address, 16);
    }
    if (now - guesser->first > LOCK_SECONDS) {
        guesser->first = now;
        guesser->wrong = 0;
    }
    if (++guesser->wrong >= WRONG_KEYS) guesser->locked_until = now + LOCK_SECONDS;
}

static enum access_verdict refuse_locked(struct request *request) {
    request_refuse_line(request, 429, "locked_out", "try again in a minute",
                        "too many wrong keys came from this address");
    request->answer.retry_after = LOCK_SECONDS;
    return ACCESS_REFUSED;
}

/* With the mutex held. */
static enum access_verdict check_key(struct access *access, struct request *request, const unsigned char address[16]) {
    const char *header = request_header(request, "Authorization");
    const struct guesser *guesser = find_guesser(access, address);
    const enum role wanted = request->route == NULL ? ROLE_NONE : request->route->role;
    if (header != NULL && guesser != NULL && time_now() < guesser->locked_until) return refuse_locked(request);
    if (header == NULL && wanted == ROLE_NONE) return ACCESS_GRANTED;
    if (header == NULL) {
        request_refuse_line(request, 401, "missing_key", "send the header Authorization: Bearer KEY",
                            "this needs an API key");
        return ACCESS_REFUSED;
    }
    const struct principal *who = NULL;
    if (strncasecmp(header, "Bearer ", 7) == 0) who = keys_find(&access->keys, header + 7, strlen(header + 7));
    if (who == NULL) {
        note_wrong_key(access, address);
        request_refuse_line(request, 401, "wrong_key", "ask the operator for a key", "the API key is not known");
        return ACCESS_DELAYED;
    }
    request->who = *who;
    if (who->role >= wanted) return ACCESS_GRANTED;
    request_refuse_line(request, 403, "forbidden", "", "this needs a key of role %s, yours has role %s",
                        role_name(wanted), role_name(who->role));
    return ACCESS_REFUSED;
}

enum access_verdict access_check(struct access *access, struct request *request, const struct sockaddr *client) {
    unsigned char address[16];
    const char *host = request_header(request, "Host");
    if (!host_is_ours(access->settings, host)) {
        request_refuse_line(request, 403, "bad_host", "the operator allows other names with --name",
                            "the server is not called by this name");
        return ACCESS_REFUSED;
    }
    if (!origin_is_ours(request, host)) {
        request_refuse_line(request, 403, "bad_origin", "", "requests from pages of other origins are refused");
        return ACCESS_REFUSED;
    }
    if (!access_has_keys(access)) {
        request->who = (struct principal){"local", ROLE_ADMIN};
        return ACCESS_GRANTED;
    }
    address_bytes(client, address);
    pthread_mutex_lock(&access->mutex);
    const enum access_verdict verdict = check_key(access, request, address);
    pthread_mutex_unlock(&access->mutex);
    return verdict;
}
