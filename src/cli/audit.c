/* casemix audit: checks the audit trail of `casemix serve`, or prints it. */
#include "serve/audit.h"
#include "base/error.h"
#include "base/text.h"
#include "cli/commands.h"
#include "serve/store.h"
#include <getopt.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

static void print_help(void) {
    puts("usage: casemix audit verify [--store casemix.sqlite] [--head HASH]\n"
         "       casemix audit export [--store casemix.sqlite]\n\n"
         "verify   computes the hash of every row and checks that each holds the one before; prints how many\n"
         "         there are, and the hash of the last: the head. Whoever can write the file can write\n"
         "         another chain, so note the head elsewhere; --head HASH asks that a row has that hash\n"
         "export   the rows as JSON lines\n\n"
         "Both work while the server runs.");
}

struct audit_options {
    const char *store, *head;
    bool help;
};

static bool read_options(int argc, char **argv, struct audit_options *options, struct error *error) {
    enum { STORE = 1, HEAD, HELP };
    static const struct option names[] = {
        {"store", 1, 0, STORE}, {"head", 1, 0, HEAD}, {"help", 0, 0, HELP}, {0, 0, 0, 0}};
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (option) {
        case STORE:
            options->store = optarg;
            break;
        case HEAD:
            options->head = optarg;
            break;
        case HELP:
            options->help = true;
            return true;
        default:
            error_usage(error, "audit: unknown option or missing value: %s", argv[optind - 1]);
            return error_hint(error, "casemix audit --help");
        }
    }
    return true;
}

/* Whether a row has this hash, so that what stood there when it was noted still stands there. */
static bool check_head(struct sqlite3 *database, const char *head, struct error *error) {
    struct sqlite3_stmt *statement;
    bool row;
    if (!statement_open(&statement, database,
                        "SELECT 1 FROM audit WHERE hash = ?1 UNION ALL SELECT 1 FROM forgotten WHERE hash = ?1", error))
        return false;
    statement_text(statement, 1, head);
    const bool done = statement_next(statement, &row, error) &&
                      (row || error_set(error, "the audit trail: no row has the hash %s", head));
    statement_close(statement);
    return done;
}

static bool verify(struct sqlite3 *database, const struct audit_options *options, struct error *error) {
    struct audit_state state;
    if (!audit_verify(database, &state, error)) return false;
    if (options->head != NULL && !check_head(database, options->head, error)) return false;
    printf("%lld rows", (long long)state.rows);
    if (state.rows > 0) printf(" (%lld to %lld)", (long long)state.first, (long long)state.last);
    if (state.forgotten > 0) printf("; retention has taken those up to %lld", (long long)state.forgotten);
    printf("; the chain holds\nhead %s\n", state.head);
    return true;
}

static bool print_line(void *context, const struct text *line, struct error *error) {
    (void)context;
    return fwrite(line->data, 1, line->length, stdout) == line->length || error_system(error, "standard output");
}

bool command_audit(int argc, char **argv, struct error *error) {
    struct audit_options options = {.store = "casemix.sqlite"};
    struct sqlite3 *database;
    if (!read_options(argc, argv, &options, error)) return false;
    if (options.help) {
        print_help();
        return true;
    }
    const char *what = optind + 1 == argc ? argv[optind] : "";
    const bool verifies = strcmp(what, "verify") == 0;
    if (!verifies && strcmp(what, "export") != 0) {
        error_usage(error, "audit takes verify or export");
        return error_hint(error, "casemix audit --help");
    }
    if (!store_open_reading(&database, options.store, error)) return false;
    const bool done =
        (verifies ? verify(database, &options, error) : audit_export(database, print_line, NULL, error)) ||
        error_context(error, "%s", options.store);
    sqlite3_close(database);
    return done;
}
