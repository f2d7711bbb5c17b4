/* Descriptions in the wording of other MS-DRG versions find their DRG, or a reason why they have none. */
#include "base/csv.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "command.h"
#include "drg/catalog.h"
#include "drg/harmonise.h"
#include "folder.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char published_path[] = "../shared/official/DRG34_Mapping.csv";
static const char expected_path[] = "../shared/official/prepare/expected/descriptions.csv";

static struct title_map *open_map(enum grouper grouper) {
    struct title_map *map = NULL;
    struct error error = {0};
    if (!title_map_open(&map, grouper, &error)) fail_msg("%s", error.message);
    return map;
}

static int find(const struct title_map *map, const char *description, const char **reason) {
    return title_map_find(map, description, strlen(description), reason);
}

static void every_title_finds_its_own_drg(void **state) {
    (void)state;
    for (int g = 0; g < 2; g++) {
        const struct catalog *catalog = catalog_get((enum grouper)g);
        struct title_map *map = open_map((enum grouper)g);
        for (size_t i = 0; i < catalog->count; i++) {
            const char *title = catalog->drgs[i].title;
            if (find(map, title, NULL) != catalog->drgs[i].code) fail_msg("%s", title);
        }
        title_map_close(map);
    }
}

/* A title of the other version is mapped, or the reason says what became of it: never "unknown wording". */
static void every_title_of_the_other_version_is_accounted_for(void **state) {
    (void)state;
    for (int g = 0; g < 2; g++) {
        const struct catalog *other = catalog_get(g == GROUPER_V34 ? GROUPER_V43 : GROUPER_V34);
        struct title_map *map = open_map((enum grouper)g);
        size_t mapped = 0;
        for (size_t i = 0; i < other->count; i++) {
            const char *reason;
            const int code = find(map, other->drgs[i].title, &reason);
            mapped += code != 0;
            if (code == 0 && strncmp(reason, "retired: ", 9) != 0) fail_msg("%s: %s", other->drgs[i].title, reason);
        }
        assert_true(mapped > 700 && mapped < other->count - 20);
        title_map_close(map);
    }
}

/* Cut anywhere, a title gives its own DRG or none, unless what is left is a title by itself. */
static void a_title_cut_short_never_gives_another_drg(void **state) {
    (void)state;
    const struct catalog *catalog = catalog_get(GROUPER_V34);
    struct title_map *map = open_map(GROUPER_V34);
    size_t found = 0, cut = 0;
    for (size_t i = 0; i < catalog->count; i++) {
        const char *title = catalog->drgs[i].title;
        for (size_t length = 20; length < strlen(title); length++, cut++) {
            const int code = title_map_find(map, title, length, NULL);
            found += code == catalog->drgs[i].code;
            if (code == 0 || code == catalog->drgs[i].code) continue;
            if (title[length] != ' ' && title[length] != '/') fail_msg("%.*s: %d", (int)length, title, code);
        }
    }
    assert_true(found * 10 > cut); /* severity stands last: most cuts are ambiguous, and said to be */
    title_map_close(map);
}

static void abbreviations_and_renamed_titles_are_understood(void **state) {
    (void)state;
    static const struct {
        enum grouper grouper;
        const char *description;
        int code;
    } cases[] = {
        {GROUPER_V34, "HEART FAILURE & SHOCK W MCC", 291},
        {GROUPER_V34, "  heart failure,and  shock w/o CC/MCC", 293},
        {GROUPER_V34, "SEPTICEMIA W/O MV 96+ HOURS W MCC", 871},
        {GROUPER_V34, "PERC CARDIOVASC PROC W DRUG-ELUTING STENT W MCC OR 4+ VESSELS/STENTS", 246},
        {GROUPER_V34, "DISORDERS OF LIVER EXCEPT MALIG,CIRR,ALC HEPA W CC", 442},
        {GROUPER_V34, "CESAREAN SECTION W/O STERILIZATION W CC", 765},
        {GROUPER_V34, "OTHER MALE REPRODUCTIVE SYSTEM O.R. PROC EXC MALIGNANCY W/O CC/MCC", 718},
        {GROUPER_V34, "ABORTION W D&C, ASPIRATION CURETTAGE OR HYSTEROTOMY", 770},
        {GROUPER_V34, "URINARY STONES W MCC", 0},
        {GROUPER_V34, "MAJOR CARDIOVASC PROCEDURES W MCC", 0},
        {GROUPER_V43, "MAJOR JOINT REPLACEMENT OR REATTACHMENT OF LOWER EXTREMITY W/O MCC", 470},
        {GROUPER_V43, "G.I. HEMORRHAGE W CC", 378},
        {GROUPER_V43, "PERC CARDIOVASC PROC W DRUG-ELUTING STENT W/O MCC", 0},
        {GROUPER_V43, "SPINAL FUSION EXCEPT CERVICAL W/O MCC", 0},
        {GROUPER_V43, "CESAREAN SECTION W CC/MCC", 0},
    };
    struct title_map *maps[2] = {open_map(GROUPER_V34), open_map(GROUPER_V43)};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *reason = NULL;
        const int code = find(maps[cases[i].grouper], cases[i].description, &reason);
        if (code != cases[i].code) fail_msg("%s: %d", cases[i].description, code);
        if (code == 0) assert_memory_equal(reason, "retired: ", 9);
    }
    title_map_close(maps[0]);
    title_map_close(maps[1]);
}

static void what_is_no_description_says_so(void **state) {
    (void)state;
    struct title_map *map = open_map(GROUPER_V34);
    char long_one[5000];
    const char *reason;
    memset(long_one, 'A', sizeof long_one);
    assert_int_equal(title_map_find(map, long_one, sizeof long_one, &reason), 0);
    assert_string_equal(reason, "unknown wording");
    for (size_t i = 1; i < sizeof long_one; i += 2) long_one[i] = ' ';
    assert_int_equal(title_map_find(map, long_one, sizeof long_one, &reason), 0);
    assert_int_equal(find(map, "", &reason), 0);
    assert_string_equal(reason, "empty");
    assert_int_equal(find(map, " ,/ ", &reason), 0);
    assert_string_equal(reason, "empty");
    assert_int_equal(find(map, "HEART FAILURE", &reason), 0);
    assert_memory_equal(reason, "ambiguous", 9);
    assert_int_equal(find(map, "\xff\xfe W/", &reason), 0);
    title_map_close(map);
}

static void the_published_transformation_is_plain_and_sequential(void **state) {
    (void)state;
    static const char *const cases[][2] = {{"A W W B", "A WITH W B"},
                                           {"A W/O B, C & D", "A WITHOUT B C AND D"},
                                           {"X W CATH PROC Y PROC", "X WITH CATHETERIZATION PROCEDURES Y PROC"},
                                           {"D&C ,", "DANDC "},
                                           {"", ""}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct text out = {0};
        title_normalise_published(&out, cases[i][0], strlen(cases[i][0]));
        assert_int_equal(out.length, strlen(cases[i][1]));
        if (out.length > 0) assert_memory_equal(out.data, cases[i][1], out.length);
        text_free(&out);
    }
}

/* Of a repeated wording the last row counts; missing and unknown targets are told apart; titles need no row. */
static void a_published_mapping_is_read_as_pandas_would(void **state) {
    (void)state;
    static const char csv[] = "raw_description,DRG_34_description\n\"OLD\",FEVER\nOLD,SYNCOPE AND COLLAPSE\n"
                              "GONE,NaN\nEMPTY,\nODD,NO SUCH TITLE\nNaN,FEVER\nFEVER,SYNCOPE AND COLLAPSE\n";
    struct error error = {0};
    struct title_map *map;
    const char *reason;
    const char *path = folder_write_text("mapping.csv", csv);
    assert_true(title_map_open_published(&map, path, &error));
    assert_int_equal(find(map, "OLD", &reason), 312);
    assert_null(reason);
    assert_int_equal(find(map, "GONE", &reason), 0);
    assert_memory_equal(reason, "retired: ", 9);
    assert_int_equal(find(map, "EMPTY", NULL), 0);
    assert_int_equal(find(map, "ODD", &reason), 0);
    assert_non_null(strstr(reason, "no v34 title"));
    assert_int_equal(find(map, "NaN", NULL), 0);
    assert_int_equal(find(map, "FEVER", NULL), 864);
    assert_int_equal(find(map, "fever", &reason), 0);
    assert_string_equal(reason, "not in the published mapping");
    title_map_close(map);
    path = folder_write_text("no-column.csv", "raw,DRG_34_description\n");
    assert_false(title_map_open_published(&map, path, &error));
    assert_null(map);
    assert_non_null(strstr(error.message, "raw_description"));
}

static bool have_official(void) {
    if (path_exists(published_path) && path_exists(expected_path)) return true;
    print_message("skipped: %s is absent\n", published_path);
    return false;
}

static void the_published_way_equals_the_official_one(void **state) {
    (void)state;
    if (!have_official()) skip();
    struct error error = {0};
    struct title_map *map;
    struct csv_reader *reader;
    struct text out = {0};
    size_t rows = 0;
    assert_true(title_map_open_published(&map, published_path, &error));
    assert_true(csv_open(&reader, expected_path, &error));
    for (bool more = true; csv_next(reader, &more, &error) && more; rows++) {
        size_t length, expected_length;
        const char *raw = csv_field(reader, 0, &length), *expected = csv_field(reader, 1, &expected_length);
        int64_t code = 0;
        const char *cell = csv_field(reader, 2, NULL);
        assert_true(*cell == '\0' || parse_int64(cell, &code));
        text_clear(&out);
        title_normalise_published(&out, raw, length);
        assert_int_equal(out.length, expected_length);
        if (out.length > 0) assert_memory_equal(out.data, expected, expected_length);
        assert_int_equal(title_map_find(map, raw, length, NULL), code);
    }
    assert_true(rows > 500);
    csv_close(reader);
    text_free(&out);
    title_map_close(map);
}

/* Over the published rows that have a target: at least 97 in 100 the same. */
static void own_rules_agree_with_the_published_table(void **state) {
    (void)state;
    if (!have_official()) skip();
    struct error error = {0};
    struct title_map *own = open_map(GROUPER_V34), *published;
    struct csv_reader *reader;
    size_t targets = 0, agree = 0;
    assert_true(title_map_open_published(&published, published_path, &error));
    assert_true(csv_open(&reader, published_path, &error));
    for (bool more = true; csv_next(reader, &more, &error) && more;) {
        size_t length;
        const char *wording = csv_field(reader, 0, &length);
        const int code = title_map_find(published, wording, length, NULL);
        targets += code != 0;
        agree += code != 0 && title_map_find(own, wording, length, NULL) == code;
    }
    assert_true(targets > 250);
    print_message("own rules agree on %zu of %zu published targets\n", agree, targets);
    assert_true(agree * 100 >= targets * 97);
    csv_close(reader);
    title_map_close(own);
    title_map_close(published);
}

static void the_command_maps_arguments_and_lines(void **state) {
    (void)state;
    struct printed printed = {0};
    command_run(&printed, "drg map --grouper v34 'HEART FAILURE & SHOCK W MCC' 'URINARY STONES W MCC'");
    assert_int_equal(printed.status, 0);
    assert_string_equal(printed.out.data,
                        "HEART FAILURE & SHOCK W MCC\t291\tHEART FAILURE AND SHOCK WITH MCC\n"
                        "URINARY STONES W MCC\t\tretired: v34 parts urinary stones by lithotripsy (691-694)\n");
    command_run(&printed, "drg map < %s", folder_write_text("lines", "SPLENECTOMY W CC\r\n\nNONSENSE"));
    assert_int_equal(printed.status, 0);
    assert_string_equal(printed.out.data, "SPLENECTOMY W CC\t800\tSPLENIC PROCEDURES WITH CC\n\t\tempty\n"
                                          "NONSENSE\t\tunknown wording\n");
    command_refuses("raw_description", "drg map --title-map data/README.md FEVER");
    printed_free(&printed);
}

static void short_memory_leaves_nothing_behind(void **state) {
    (void)state;
    struct title_map *map;
    int64_t allocations = 0;
    catalog_get(GROUPER_V34);
    for (bool done = false; !done; allocations++) {
        struct error error = {0};
        memory_fail_after(allocations);
        done = title_map_open(&map, GROUPER_V34, &error);
        memory_fail_after(-1);
        if (!done) assert_true(map == NULL && error.message[0] != '\0');
    }
    title_map_close(map);
    assert_true(allocations > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_title_finds_its_own_drg),
        cmocka_unit_test(every_title_of_the_other_version_is_accounted_for),
        cmocka_unit_test(a_title_cut_short_never_gives_another_drg),
        cmocka_unit_test(abbreviations_and_renamed_titles_are_understood),
        cmocka_unit_test(what_is_no_description_says_so),
        cmocka_unit_test(the_published_transformation_is_plain_and_sequential),
        cmocka_unit_test(a_published_mapping_is_read_as_pandas_would),
        cmocka_unit_test(the_published_way_equals_the_official_one),
        cmocka_unit_test(own_rules_agree_with_the_published_table),
        cmocka_unit_test(the_command_maps_arguments_and_lines),
        cmocka_unit_test(short_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
