/* casemix drg: the MS-DRG catalog on the command line. */
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/prediction_table.h"
#include "drg/catalog.h"
#include "drg/harmonise.h"
#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void print_help(void) {
    puts("usage: casemix drg list [--grouper v34|v43] [--mdc 05] [--type surgical] [--search WORDS] [--tsv]\n"
         "       casemix drg show CODE… [--grouper v34|v43]\n"
         "       casemix drg resolve [BASE SEVERITY]\n"
         "       casemix drg map [DESCRIPTION…] [--grouper v34|v43] [--title-map FILE]\n\n"
         "list     DRGs with weight, geometric mean stay and severity (default grouper v43, FY2026)\n"
         "show     a DRG and the other severities of its base\n"
         "resolve  base (0..339) and severity (0 none, 1 CC, 2 MCC, 3 without MCC, 4 any) of DRG-LLaMA to\n"
         "         the v34 code, one pair a line from standard input, tab between\n"
         "map      descriptions in the wording of any MS-DRG version, one a line from standard input, to\n"
         "         description, code and title; without a code the third field says why; --title-map takes a\n"
         "         published mapping (v34) instead\n\n"
         "  casemix drg list --search 'heart failure'\n"
         "  casemix drg show 291\n"
         "  printf '12\\t2\\n"
         "' | casemix drg resolve\n"
         "  casemix drg map --grouper v34 'HEART FAILURE & SHOCK W MCC'");
}

struct drg_options {
    const struct catalog *catalog;
    const char *mdc, *type, *search, *title_map;
    bool tsv, grouper_given;
};

static bool read_options(int argc, char **argv, struct drg_options *options, struct error *error) {
    enum { GROUPER = 1, MDC, TYPE, SEARCH, TSV, TITLE_MAP };
    static const struct option names[] = {{"grouper", 1, 0, GROUPER},
                                          {"mdc", 1, 0, MDC},
                                          {"type", 1, 0, TYPE},
                                          {"search", 1, 0, SEARCH},
                                          {"tsv", 0, 0, TSV},
                                          {"title-map", 1, 0, TITLE_MAP},
                                          {0, 0, 0, 0}};
    enum grouper grouper = GROUPER_V43;
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (option) {
        case GROUPER:
            if (!grouper_parse(optarg, &grouper, error)) return false;
            options->grouper_given = true;
            break;
        case MDC:
            options->mdc = optarg;
            break;
        case TYPE:
            options->type = optarg;
            break;
        case SEARCH:
            options->search = optarg;
            break;
        case TSV:
            options->tsv = true;
            break;
        case TITLE_MAP:
            options->title_map = optarg;
            break;
        default:
            error_usage(error, "drg: unknown option or missing value: %s", argv[optind - 1]);
            return error_hint(error, "casemix drg --help");
        }
    }
    options->catalog = catalog_get(grouper);
    return true;
}

/* Every word of the search stands in the title, any case. */
static bool title_matches(const char *title, const char *search) {
    char words[256];
    snprintf(words, sizeof words, "%s", search);
    for (char *word = strtok(words, " "); word != NULL; word = strtok(NULL, " ")) {
        if (strcasestr(title, word) == NULL) return false;
    }
    return true;
}

static void print_row(const struct drg *drg, bool tsv) {
    if (tsv) {
        printf("%03d\t%s\t%s\t%d\t%s\t%s\t%.4f\t%.1f\n", drg->code, drg->mdc, type_name(drg->type), drg->base,
               severity_name(drg->severity), drg->title, drg->weight, drg->gmlos);
        return;
    }
    char title[256];
    table_fit(title, sizeof title, drg->title, 60);
    printf("%03d  %s  %7.4f  %5.1f  %-11s  %s %s\n", drg->code, title, drg->weight, drg->gmlos,
           severity_name(drg->severity), drg->mdc,
           drg->type == DRG_SURGICAL  ? "surg"
           : drg->type == DRG_MEDICAL ? "med"
                                      : "");
}

static void print_heading(bool tsv) {
    if (tsv)
        puts("drg\tmdc\ttype\tbase\tseverity\ttitle\tweight\tgmlos");
    else
        printf("%-3s  %-60s  %7s  %5s  %-11s  %s\n", "DRG", "title", "weight", "GMLOS", "severity", "MDC");
}

static bool list_drgs(const struct drg_options *options, struct error *error) {
    size_t shown = 0;
    for (size_t i = 0; i < options->catalog->count; i++) {
        const struct drg *drg = &options->catalog->drgs[i];
        if (options->mdc != NULL && strcasecmp(options->mdc, drg->mdc) != 0) continue;
        if (options->type != NULL && strcasecmp(options->type, type_name(drg->type)) != 0) continue;
        if (options->search != NULL && !title_matches(drg->title, options->search)) continue;
        if (shown++ == 0) print_heading(options->tsv);
        print_row(drg, options->tsv);
    }
    if (shown > 0) return true;
    error_set(error, "no DRG of %s fits", grouper_name(options->catalog->grouper));
    return error_hint(error,
                      "--mdc takes 01 to 25, PRE or ALL; --type medical or surgical; --search words of the title");
}

static bool show_drg(const struct drg_options *options, const char *argument, struct error *error) {
    int code;
    if (!drg_parse(argument, &code, error)) return false;
    const struct drg *drg = catalog_find(options->catalog, code);
    if (drg == NULL)
        return error_set(error, "there is no DRG %03d in %s", code, grouper_name(options->catalog->grouper));
    printf("%03d  %s\n     %s, MDC %s, %s; weight %.4f, geometric mean stay %.1f days, severity %s\n", drg->code,
           drg->title, grouper_name(options->catalog->grouper), drg->mdc, type_name(drg->type), drg->weight, drg->gmlos,
           severity_name(drg->severity));
    for (size_t i = 0, shown = 0; i < options->catalog->count; i++) {
        const struct drg *other = &options->catalog->drgs[i];
        if (other->base != drg->base || other == drg) continue;
        if (shown++ == 0) puts("     other severities of the base:");
        printf("     %03d  %-11s  weight %.4f (%+.4f)  GMLOS %.1f\n", other->code, severity_name(other->severity),
               other->weight, other->weight - drg->weight, other->gmlos);
    }
    return true;
}

static bool resolve_pair(const char *base, const char *severity, struct error *error) {
    int64_t b, s;
    const struct drg *drg = NULL;
    if (parse_int64(base, &b) && parse_int64(severity, &s) && b >= 0 && b < 100000 && s >= 0 && s <= 4) {
        drg = catalog_resolve(catalog_get(GROUPER_V34), (int)b, (int)s);
    }
    if (drg == NULL) {
        error_set(error, "\"%.20s\" and \"%.20s\" are no base (0..339) and severity (0..4)", base, severity);
        return error_hint(error, "the numbering is DRG-LLaMA's: bases in order of first appearance in v34");
    }
    printf("%d\n", drg->code);
    return true;
}

static bool resolve_lines(struct error *error) {
    struct text text = {0};
    bool done = file_read(&text, "-", (size_t)1 << 28, error);
    size_t number = 1;
    for (char *line = text.data; done && line != NULL && *line != '\0'; number++) {
        char *end = strchr(line, '\n'), *next = end == NULL ? NULL : end + 1, *tab;
        if (end != NULL) *end = '\0';
        line[strcspn(line, "\r")] = '\0';
        if (*line != '\0') {
            tab = strchr(line, '\t');
            if (tab != NULL) *tab = '\0';
            done = tab != NULL ? resolve_pair(line, tab + 1, error) : error_set(error, "expected base, tab, severity");
            if (!done) error_context(error, "standard input, line %zu", number);
        }
        line = next;
    }
    text_free(&text);
    return done;
}

static void map_description(const struct title_map *map, const struct catalog *catalog, const char *description,
                            size_t length) {
    const char *reason;
    const int code = title_map_find(map, description, length, &reason);
    fwrite(description, 1, length, stdout);
    if (code != 0)
        printf("\t%03d\t%s\n", code, catalog_find(catalog, code)->title);
    else
        printf("\t\t%s\n", reason);
}

static bool map_lines(const struct title_map *map, const struct catalog *catalog, struct error *error) {
    struct text text = {0};
    const bool done = file_read(&text, "-", (size_t)1 << 30, error);
    for (size_t start = 0; done && start < text.length;) {
        const char *line = text.data + start, *end = memchr(line, '\n', text.length - start);
        size_t length = end == NULL ? text.length - start : (size_t)(end - line);
        start += length + 1;
        if (length > 0 && line[length - 1] == '\r') length--;
        map_description(map, catalog, line, length);
    }
    text_free(&text);
    return done;
}

static bool map_descriptions(const struct drg_options *options, char **arguments, int count, struct error *error) {
    struct title_map *map;
    const struct catalog *catalog = options->catalog;
    if (options->title_map != NULL) {
        if (options->grouper_given && catalog->grouper != GROUPER_V34)
            return error_usage(error, "drg map: a published mapping (--title-map) leads to v34, not to %s",
                               grouper_name(catalog->grouper));
        catalog = catalog_get(GROUPER_V34);
        if (!title_map_open_published(&map, options->title_map, error)) return false;
    } else if (!title_map_open(&map, catalog->grouper, error)) {
        return false;
    }
    bool done = true;
    for (int i = 0; i < count; i++) map_description(map, catalog, arguments[i], strlen(arguments[i]));
    if (count == 0) done = map_lines(map, catalog, error);
    title_map_close(map);
    return done;
}

bool command_drg(int argc, char **argv, struct error *error) {
    struct drg_options options = {0};
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help();
        return argc >= 2 || error_usage(error, "drg needs list, show, resolve or map");
    }
    const char *verb = argv[1];
    if (!read_options(argc - 1, argv + 1, &options, error)) return false;
    char **arguments = argv + 1 + optind;
    const int count = argc - 1 - optind;
    if (strcmp(verb, "list") == 0)
        return count == 0 ? list_drgs(&options, error) : error_usage(error, "drg list takes options only");
    if (strcmp(verb, "map") == 0) return map_descriptions(&options, arguments, count, error);
    if (strcmp(verb, "resolve") == 0) {
        if (count == 0) return resolve_lines(error);
        return count == 2 ? resolve_pair(arguments[0], arguments[1], error)
                          : error_usage(error, "drg resolve takes BASE SEVERITY, or lines of them");
    }
    if (strcmp(verb, "show") != 0)
        return error_usage(error, "drg has no verb \"%s\": list, show, resolve or map", verb);
    if (count == 0) return error_usage(error, "drg show needs a code, such as 291");
    for (int i = 0; i < count; i++) {
        if (!show_drg(&options, arguments[i], error)) return false;
    }
    return true;
}
