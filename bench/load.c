/* Load on `casemix serve`: 32 clients on loopback that send synthetic notes, against what `casemix predict` does alone.
 *
 *   load [--seconds 60] [--clients 32] [offline] [full] [half] [over]      (all four)
 *
 * offline  casemix predict over the same notes, its start not counted
 * full     every client sends its next note as soon as it has the answer
 * half     notes come at half the rate that `full` reached (measured for five seconds if it is not asked for), whatever
 *          the server does: times count from when a note was due
 * over     the same as full, with a queue of 8: clients must be told to come again, and nothing else may go wrong
 *
 * Prints rows of a table in Markdown: notes a second, p50, p99, statuses, resident memory at the begin and the end.
 * Exit status 1 when an answer was neither 200 nor 429. */
#include "base/csv.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "folder.h"
#include "served.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include <sys/socket.h>

enum { STAYS = 2000, CLIENTS_MOST = 256 };

static struct text requests[STAYS];
static size_t request_count;
static struct served_program program;
static double begin, end, period; /* of a part; seconds between two notes of all clients together, 0: none */
static int clients = 32;

struct client {
    pthread_t thread;
    int number, socket;
    double *times;
    size_t count, capacity, others[6]; /* answers 200 with their times; of status 1xx … 5xx, and none */
    size_t refused;                    /* 429 */
};

static void quit(const struct error *error) {
    fprintf(stderr, "load: %s\n", error->message);
    exit(1);
}

static const char *casemix(void) {
    static char path[4096];
    const char *build = getenv("B");
    snprintf(path, sizeof path, "%s/casemix", build == NULL ? "build" : build);
    return path;
}

static void run(const char *line) {
    char command[16384];
    snprintf(command, sizeof command, "%s %s", casemix(), line);
    if (system(command) == 0) return;
    fprintf(stderr, "load: %s fails\n", command);
    exit(1);
}

static void add_request(struct text *request, const char *note, size_t length) {
    struct text body = {0};
    text_add(&body, "{\"text\": ");
    text_add_json(&body, note, length);
    text_add(&body, ", \"k\": 5}");
    text_printf(request,
                "POST /v1/drg HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                "\r\n",
                body.length);
    text_append(request, body.data, body.length);
    text_free(&body);
}

/* The same synthetic stays every time. */
static void make_notes(void) {
    char line[4200], path[4200];
    struct csv_reader *reader;
    struct error error = {0};
    const char *cohort = folder_path("cohort");
    snprintf(line, sizeof line, "synth --stays %d --seed 7 --out %s 2>/dev/null", STAYS, cohort);
    run(line);
    snprintf(path, sizeof path, "%s/discharge.csv.gz", cohort);
    if (!csv_open(&reader, path, &error)) quit(&error);
    const int column = csv_column(reader, "text");
    for (bool more = true; request_count < STAYS;) {
        size_t length;
        if (!csv_next(reader, &more, &error)) quit(&error);
        if (!more) break;
        const char *note = csv_field(reader, column, &length);
        add_request(&requests[request_count++], note, length);
    }
    csv_close(reader);
}

static double run_offline(void) {
    char line[8400];
    const char *notes = folder_path("cohort");
    double seconds[2];
    for (int i = 0; i < 2; i++) {
        const double since = time_now();
        snprintf(line, sizeof line, "predict --json %s%s >/dev/null 2>&1", i == 0 ? folder_path("one.txt") : notes,
                 i == 0 ? "" : "/discharge.csv.gz");
        run(line);
        seconds[i] = time_now() - since;
    }
    const double rate = (double)request_count / (seconds[1] - seconds[0]);
    printf("| predict, offline | %.0f | | | | |\n", rate);
    fflush(stdout);
    return rate;
}

static bool connect_client(struct client *client) {
    if (client->socket < 0) client->socket = served_connect(&program, "127.0.0.1");
    return client->socket >= 0;
}

/* The status of the answer; 0: the connection ended. */
static int read_answer(struct client *client) {
    char bytes[65536];
    size_t length = 0, wanted = 0;
    while (length + 1 < sizeof bytes) {
        const ssize_t got = recv(client->socket, bytes + length, sizeof bytes - 1 - length, 0);
        if (got <= 0) break;
        length += (size_t)got;
        bytes[length] = '\0';
        const char *body = strstr(bytes, "\r\n\r\n"), *size = strcasestr(bytes, "\r\nContent-Length:");
        if (wanted == 0 && body != NULL && size != NULL)
            wanted = (size_t)(body + 4 - bytes) + (size_t)strtoul(size + 17, NULL, 10);
        if (wanted > 0 && length >= wanted) return atoi(bytes + 9);
    }
    close(client->socket);
    client->socket = -1;
    return 0;
}

static void note_time(struct client *client, double seconds) {
    if (memory_grow(&client->times, &client->capacity, client->count + 1, sizeof *client->times, NULL))
        client->times[client->count++] = seconds;
}

static void wait_until(double due) {
    const double left = due - time_now();
    if (left <= 0) return;
    const struct timespec moment = {(time_t)left, (long)((left - (double)(time_t)left) * 1e9)};
    nanosleep(&moment, NULL);
}

static void *ask(void *context) {
    struct client *client = context;
    size_t i = (size_t)client->number * 61;
    for (size_t turn = 0; time_now() < end; turn++, i++) {
        double due = time_now();
        if (period > 0) {
            due = begin + period * ((double)turn * clients + client->number);
            if (due >= end) break;
            wait_until(due);
        }
        const struct text *request = &requests[i % request_count];
        int status = 0;
        if (connect_client(client) && send_bytes(client->socket, request->data, request->length))
            status = read_answer(client);
        if (status == 200)
            note_time(client, time_now() - due);
        else if (status == 429)
            client->refused++;
        else
            client->others[status / 100 < 6 ? status / 100 : 0]++;
        if (status == 429) usleep(1000); /* the server says one second; a rude client comes sooner */
    }
    return NULL;
}

static long resident_kibibytes(void) {
    char path[64], line[128];
    long size = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)program.process);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "VmRSS:", 6) == 0) size = strtol(line + 6, NULL, 10);
    }
    if (file != NULL) fclose(file);
    return size;
}

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One part of the load; a row if it has a name. Notes a second, or -1 when something else than 200 or 429 came back. */
static double run_clients(const char *name, double seconds, double rate) {
    static struct client all[CLIENTS_MOST];
    struct client sum = {0};
    begin = time_now();
    end = begin + seconds;
    period = rate > 0 ? 1 / rate : 0;
    for (int c = 0; c < clients; c++) {
        all[c] = (struct client){.number = c, .socket = -1};
        if (pthread_create(&all[c].thread, NULL, ask, &all[c]) != 0) exit(1);
    }
    wait_until(begin + seconds / 6);
    const long early = resident_kibibytes();
    for (int c = 0; c < clients; c++) {
        pthread_join(all[c].thread, NULL);
        for (size_t i = 0; i < all[c].count; i++) note_time(&sum, all[c].times[i]);
        sum.refused += all[c].refused;
        for (int s = 0; s < 6; s++) sum.others[0] += all[c].others[s];
        if (all[c].socket >= 0) close(all[c].socket);
        memory_free(all[c].times);
    }
    const double spent = time_now() - begin, reached = (double)sum.count / spent;
    if (sum.count > 0) qsort(sum.times, sum.count, sizeof *sum.times, by_size);
    const double p50 = sum.count > 0 ? 1e3 * sum.times[sum.count / 2] : 0,
                 p99 = sum.count > 0 ? 1e3 * sum.times[sum.count * 99 / 100] : 0;
    memory_free(sum.times);
    if (name != NULL)
        printf("| %s | %.0f | %.0f | %.0f | %zu: 200, %zu: 429, %zu: else | %.1f to %.1f |\n", name, reached, p50, p99,
               sum.count, sum.refused, sum.others[0], (double)early / 1024, (double)resident_kibibytes() / 1024);
    fflush(stdout);
    return sum.others[0] == 0 ? reached : -1;
}

static void serve(const char *options) {
    static int count;
    char name[32];
    snprintf(name, sizeof name, "store-%d.sqlite", count++);
    served_start(&program, "--model models/tiny-classifier --store %s %s", folder_path(name), options);
}

struct parts {
    bool offline, full, half, over;
};

static bool run_parts(const struct parts *parts, double seconds) {
    double rate = 0;
    bool good = true;
    printf("| | notes/s | p50 ms | p99 ms | answers | MiB at the begin, end |\n|---|---|---|---|---|---|\n");
    if (parts->offline) run_offline();
    if (parts->full || parts->half) {
        serve("");
        rate = run_clients(parts->full ? "full load" : NULL, parts->full ? seconds : 5, 0);
        good = rate > 0;
        if (good && parts->half) good = run_clients("half load", seconds, rate / 2) > 0;
        served_stop(&program, SIGTERM);
    }
    if (parts->over) {
        serve("--queue 8");
        good = run_clients("queue of 8", seconds / 3, 0) > 0 && good;
        served_stop(&program, SIGTERM);
    }
    return good;
}

int main(int count, char **words) {
    struct parts parts = {0};
    double seconds = 60;
    void *state = NULL;
    for (int i = 1; i < count; i++) {
        const bool number = i + 1 < count;
        if (number && strcmp(words[i], "--seconds") == 0)
            seconds = strtod(words[++i], NULL);
        else if (number && strcmp(words[i], "--clients") == 0)
            clients = atoi(words[++i]);
        else if (strcmp(words[i], "offline") == 0)
            parts.offline = true;
        else if (strcmp(words[i], "full") == 0)
            parts.full = true;
        else if (strcmp(words[i], "half") == 0)
            parts.half = true;
        else if (strcmp(words[i], "over") == 0)
            parts.over = true;
        else
            seconds = 0;
    }
    if (!(seconds > 0) || clients < 1 || clients > CLIENTS_MOST) {
        fprintf(stderr, "usage: load [--seconds 60] [--clients 32] [offline] [full] [half] [over]\n");
        return 2;
    }
    if (!parts.offline && !parts.full && !parts.half && !parts.over) parts = (struct parts){true, true, true, true};
    folder_make(&state);
    folder_write_text("one.txt", "Brief Hospital Course: heart failure.");
    make_notes();
    const bool good = run_parts(&parts, seconds);
    for (size_t i = 0; i < request_count; i++) text_free(&requests[i]);
    served_kill(&program);
    folder_remove(&state);
    return good ? 0 : 1;
}
