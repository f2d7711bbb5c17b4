/* casemix key: makes, lists and removes the API keys of `casemix serve`. */
#include "base/error.h"
#include "cli/commands.h"
#include "serve/keys.h"
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static void print_help(void) {
    puts("usage: casemix key new ROLE NAME --keys FILE\n"
         "       casemix key list --keys FILE\n"
         "       casemix key remove NAME --keys FILE\n\n"
         "new      makes a key, writes its SHA-256 to the file and prints the key itself: the only time that\n"
         "         anybody sees it. ROLE is code (codes notes), review (also reviews and rates) or admin\n"
         "         (also ends other people's jobs)\n"
         "list     name, role and day of every key\n"
         "remove   takes a key out of the file\n\n"
         "A server that runs takes changes of its file up within a second.\n\n"
         "  casemix key new review ann --keys keys");
}

static bool read_options(int argc, char **argv, const char **keys, bool *help, struct error *error) {
    enum { KEYS = 1, HELP };
    static const struct option names[] = {{"keys", 1, 0, KEYS}, {"help", 0, 0, HELP}, {0, 0, 0, 0}};
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (option) {
        case KEYS:
            *keys = optarg;
            break;
        case HELP:
            *help = true;
            return true;
        default:
            error_usage(error, "key: unknown option or missing value: %s", argv[optind - 1]);
            return error_hint(error, "casemix key --help");
        }
    }
    if (*keys != NULL) return true;
    error_usage(error, "key needs --keys FILE");
    return error_hint(error, "casemix key --help");
}

static bool new_key(const char *file, const char *role_word, const char *name, struct error *error) {
    char key[KEY_LENGTH];
    enum role role;
    if (!role_parse(role_word, &role, error) || !keys_new(file, role, name, key, error)) return false;
    puts(key);
    return true;
}

static bool list_keys(const char *file, struct error *error) {
    struct keys keys;
    if (!keys_load(&keys, file, error)) return false;
    for (size_t i = 0; i < keys.count; i++)
        printf("%-24s %-6s %s\n", keys.items[i].who.name, role_name(keys.items[i].who.role), keys.items[i].made);
    keys_free(&keys);
    return true;
}

bool command_key(int argc, char **argv, struct error *error) {
    const char *file = NULL;
    bool help = false;
    if (!read_options(argc, argv, &file, &help, error)) return false;
    if (help) {
        print_help();
        return true;
    }
    char **words = argv + optind;
    const int count = argc - optind;
    if (count == 3 && strcmp(words[0], "new") == 0) return new_key(file, words[1], words[2], error);
    if (count == 1 && strcmp(words[0], "list") == 0) return list_keys(file, error);
    if (count == 2 && strcmp(words[0], "remove") == 0) return keys_remove(file, words[1], error);
    error_usage(error, "key takes new ROLE NAME, list, or remove NAME");
    return error_hint(error, "casemix key --help");
}
