/* Starting, asking and ending a server. */
#include "served.h"
#include "base/error.h"
#include "folder.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { WORDS = 48 };

/* In the child: the program, which dies with the test. */
static void run_program(char *line, int output, int log) {
    char path[4096], *words[WORDS + 1];
    size_t count = 0;
    const char *build = getenv("B");
    snprintf(path, sizeof path, "%s/casemix", build == NULL ? "build" : build);
    words[count++] = path;
    for (char *word = strtok(line, " "); word != NULL && count < WORDS; word = strtok(NULL, " ")) words[count++] = word;
    words[count] = NULL;
    dup2(output, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execv(path, words);
    _exit(127);
}

void served_start(struct served_program *program, const char *format, ...) {
    char options[2048], line[4096], url[128] = "";
    int ends[2];
    va_list list;
    va_start(list, format);
    vsnprintf(options, sizeof options, format, list);
    va_end(list);
    snprintf(line, sizeof line, "serve --port 0 %s", options);
    signal(SIGPIPE, SIG_IGN);
    const int log = open(folder_path("serve.log"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(log >= 0 && pipe2(ends, O_CLOEXEC) == 0);
    program->process = fork();
    if (program->process == 0) run_program(line, ends[1], log);
    assert_true(program->process > 0);
    close(ends[1]);
    close(log);
    program->output = ends[0];
    for (size_t length = 0; length + 1 < sizeof url && strchr(url, '\n') == NULL;) {
        const ssize_t got = read(ends[0], url + length, sizeof url - 1 - length);
        if (got <= 0) fail_msg("casemix %s ends before it listens; see %s", line, folder_path("serve.log"));
        length += (size_t)got;
    }
    program->port = atoi(strrchr(url, ':') + 1);
}

int served_stop(struct served_program *program, int number) {
    int status = 0;
    kill(program->process, number);
    assert_int_equal(waitpid(program->process, &status, 0), program->process);
    close(program->output);
    program->process = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void served_kill(struct served_program *program) {
    if (program->process > 0) served_stop(program, SIGKILL);
}

void reply_free(struct reply *reply) {
    text_free(&reply->head);
    text_free(&reply->body);
    reply->status = 0;
}

const char *reply_header(const struct reply *reply, const char *name) {
    static char value[1024];
    const size_t length = strlen(name);
    value[0] = '\0';
    for (const char *line = reply->head.data; line != NULL && *line != '\0'; line = strstr(line, "\r\n")) {
        line += strspn(line, "\r\n");
        if (strncasecmp(line, name, length) != 0 || line[length] != ':') continue;
        const char *from = line + length + 1 + strspn(line + length + 1, " ");
        snprintf(value, sizeof value, "%.*s", (int)strcspn(from, "\r"), from);
        break;
    }
    return value;
}

int served_connect(const struct served_program *program, const char *from) {
    struct sockaddr_in own = {.sin_family = AF_INET},
                       server = {.sin_family = AF_INET, .sin_port = htons((uint16_t)program->port)};
    const int socket_number = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(socket_number >= 0);
    inet_pton(AF_INET, from, &own.sin_addr);
    inet_pton(AF_INET, "127.0.0.1", &server.sin_addr);
    if (bind(socket_number, (struct sockaddr *)&own, sizeof own) == 0 &&
        connect(socket_number, (struct sockaddr *)&server, sizeof server) == 0)
        return socket_number;
    close(socket_number);
    return -1;
}

bool send_bytes(int socket_number, const char *bytes, size_t length) {
    while (length > 0) {
        const ssize_t sent = send(socket_number, bytes, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return false;
        bytes += sent;
        length -= (size_t)sent;
    }
    return true;
}

static void join_chunks(struct text *body) {
    struct text whole = {0};
    const char *at = body->data;
    for (;;) {
        char *end;
        const size_t size = strtoull(at, &end, 16), left = (size_t)(body->data + body->length - end);
        if (end == at || size == 0 || left < size + 2) break;
        text_append(&whole, end + 2, size);
        at = end + 2 + size + 2;
    }
    text_add(&whole, "");
    text_free(body);
    *body = whole;
}

void read_reply(int socket_number, struct reply *reply) {
    static char bytes[65536];
    struct text all = {0};
    reply_free(reply);
    if (socket_number < 0) return;
    for (ssize_t got; (got = recv(socket_number, bytes, sizeof bytes, 0)) != 0;) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) break;
        text_append(&all, bytes, (size_t)got);
    }
    close(socket_number);
    text_add(&all, "");
    const char *from = all.data, *end;
    while (strncmp(from, "HTTP/1.1 100", 12) == 0 && (end = strstr(from, "\r\n\r\n")) != NULL) from = end + 4;
    end = strstr(from, "\r\n\r\n");
    if (strncmp(from, "HTTP/1.", 7) == 0 && end != NULL) {
        reply->status = atoi(from + 9);
        text_append(&reply->head, from, (size_t)(end + 2 - from));
        text_append(&reply->body, end + 4, (size_t)(all.data + all.length - (end + 4)));
    }
    text_add(&reply->head, "");
    text_add(&reply->body, "");
    if (strcasecmp(reply_header(reply, "Transfer-Encoding"), "chunked") == 0) join_chunks(&reply->body);
    text_free(&all);
}

void served_ask(const struct served_program *program, struct reply *reply, const char *method, const char *path,
                const char *head, const char *body) {
    struct text request = {0};
    text_printf(&request, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n%s", method, path,
                program->port, head);
    if (body != NULL) text_printf(&request, "Content-Length: %zu\r\n", strlen(body));
    text_add(&request, "\r\n");
    if (body != NULL) text_add(&request, body);
    const int socket_number = served_connect(program, "127.0.0.1");
    if (socket_number >= 0) send_bytes(socket_number, request.data, request.length);
    read_reply(socket_number, reply);
    text_free(&request);
}
