/* A request, through the whole server: bytes as a client sends them to a listening socket, who then waits a moment for
 * an answer and leaves. Whatever comes back is an HTTP answer, and the server answers the next client. */
#include "base/error.h"
#include "base/log.h"
#include "input.h"
#include "serve/server.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct server *server;

static void start(void) {
    static char store[1024];
    struct error error = {0};
    snprintf(store, sizeof store, "%s/store.sqlite", input_folder());
    const struct server_settings settings = {.models = {"models/tiny-classifier"},
                                             .model_count = 1,
                                             .address = "127.0.0.1",
                                             .store = store,
                                             .queue = 16,
                                             .batch_limit = 1 << 16,
                                             .connections = 256,
                                             .timeout = 60,
                                             .compute = COMPUTE_AUTO,
                                             .version = "fuzzed"};
    log_quiet(true);
    if (server_open(&server, &settings, &error)) return;
    fprintf(stderr, "fuzz_request: %s\n", error.message);
    exit(1);
}

/* A connection that waits so long for bytes. */
static int connect_to_server(long microseconds) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server->port)};
    const struct timeval patience = {.tv_sec = microseconds / 1000000, .tv_usec = microseconds % 1000000};
    const int one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    if (one < 0 || connect(one, (struct sockaddr *)&address, sizeof address) != 0) abort();
    setsockopt(one, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return one;
}

static void send_all(int one, const void *bytes, size_t length) {
    for (size_t sent = 0; sent < length;) {
        const ssize_t more = send(one, (const char *)bytes + sent, length - sent, MSG_NOSIGNAL);
        if (more <= 0) break;
        sent += (size_t)more;
    }
}

/* Whether there was an answer; none is a connection that was dropped, or kept waiting. */
static bool read_answer(int one) {
    char bytes[4096];
    ssize_t got;
    bool answered = false;
    while ((got = recv(one, bytes, sizeof bytes, 0)) > 0) {
        if (!answered && got >= 7 && memcmp(bytes, "HTTP/1.", 7) != 0) abort();
        answered = true;
    }
    close(one);
    return answered;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    if (server == NULL) start();
    int one = connect_to_server(20000);
    send_all(one, bytes, length);
    shutdown(one, SHUT_WR);
    read_answer(one);
    static const char next[] = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    one = connect_to_server(20000000);
    send_all(one, next, sizeof next - 1);
    if (!read_answer(one)) abort();
    return 0;
}
