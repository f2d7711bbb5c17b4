/* From MIMIC-IV's two files to a dataset: the published cohort member by member, the honest split by patient, and what
 * becomes of damaged files. */
#include "base/csv.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "command.h"
#include "data/dataset.h"
#include "folder.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <zlib.h>

#define OFFICIAL "../shared/official/"
#define EXPECTED OFFICIAL "prepare/expected/"

static const char *inside(const char *directory, const char *file) {
    static char paths[8][1200];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", directory, file);
    return path;
}

/* A path of the test's folder that stays valid however many others are asked for. */
static const char *keep_path(const char *name) {
    static char path[1024];
    snprintf(path, sizeof path, "%s", folder_path(name));
    return path;
}

static void need_official(void) {
    if (path_exists(OFFICIAL "prepare/discharge.csv")) return;
    print_message("skipped: %s is absent\n", OFFICIAL);
    skip();
}

/* A small cohort of our own: `patients` patients with one to three stays, their DRGs by turns. */
static const char *const descriptions[] = {"HEART FAILURE AND SHOCK WITH MCC", "SIMPLE PNEUMONIA AND PLEURISY WITH CC",
                                           "KIDNEY AND URINARY TRACT INFECTIONS WITHOUT MCC", "PSYCHOSES"};

static void write_tables(int patients, const char *notes, const char *codes) {
    struct text note = {0}, drg = {0};
    int stay = 0;
    text_add(&note, "note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text\n");
    text_add(&drg, "subject_id,hadm_id,drg_type,drg_code,description,drg_severity,drg_mortality\n");
    for (int p = 0; p < patients; p++) {
        for (int s = 0; s <= p % 3; s++, stay++) {
            text_printf(&note, "%d-DS-%d,%d,%d,DS,%d,,,\"Chief Complaint:\nnumber %d\n\nBrief Hospital Course:\n",
                        1000 + p, s, 1000 + p, 5000 + stay, s, stay);
            for (int w = 0; w < 50; w++) text_printf(&note, "word%d ", (stay * 7 + w) % 1000 + w * stay);
            text_printf(&note, "\n\nMedications on Admission:\nnone\n\nDischarge Diagnosis:\nkind %d\n\"\n", stay % 4);
            text_printf(&drg, "%d,%d,HCFA,1,%s,,\n%d,%d,APR,1,NOT THIS,1,1\n", 1000 + p, 5000 + stay,
                        descriptions[(p + s) % 4], 1000 + p, 5000 + stay);
        }
    }
    folder_write(notes, note.data, note.length);
    folder_write(codes, drg.data, drg.length);
    text_free(&note);
    text_free(&drg);
}

static void prepare(struct printed *printed, const char *out, const char *options) {
    command_run(printed, "prepare --notes %s --drgcodes %s --out %s %s", folder_path("notes.csv"),
                folder_path("codes.csv"), out, options);
    if (printed->status != 0) fail_msg("%s", printed->errors.data);
}

static int64_t flow_member(const char *directory, const char *name) {
    struct json *flow;
    struct error *none = NULL;
    int64_t value = -1;
    assert_true(json_load(&flow, inside(directory, "flow.json"), 0, none));
    if (!json_integer(json_member(json_root(flow), name), &value)) fail_msg("flow.json has no %s", name);
    json_free(flow);
    return value;
}

/* The stays of a JSONL file are those of an expected list, in its order. */
static void same_members(const char *jsonl, const char *expected) {
    struct dataset dataset = {0};
    struct csv_reader *list;
    bool more;
    size_t row = 0;
    assert_true(dataset_load(&dataset, jsonl, NULL));
    assert_true(csv_open(&list, expected, NULL));
    const int note = csv_column(list, "note_id"), code = csv_column(list, "drg_34_code");
    while (csv_next(list, &more, NULL) && more) {
        assert_true(row < dataset.count);
        assert_string_equal(dataset.stays[row].note_id, csv_field(list, note, NULL));
        assert_int_equal(dataset.stays[row].drg, atoi(csv_field(list, code, NULL)));
        row++;
    }
    if (row != dataset.count) fail_msg("%s has %zu stays, %s %zu", jsonl, dataset.count, expected, row);
    csv_close(list);
    dataset_free(&dataset);
}

static void the_published_cohort_is_reproduced(void **state) {
    static const char *const tables[] = {"sections", "descriptions", "drg_map", "id2label", "cohort", "train", "test"};
    static const char *const counts[] = {"notes",
                                         "with_section",
                                         "more_than_40_words",
                                         "after_duplicates",
                                         "drg_rows_hcfa",
                                         "distinct_descriptions",
                                         "drg_rows_mapped",
                                         "merged_rows",
                                         "merged_classes",
                                         "cohort_rows",
                                         "classes",
                                         "train_rows",
                                         "test_rows",
                                         "test_classes",
                                         "unmapped_descriptions"};
    static const char *const subsets[] = {"cold_start", "drg_small", "rare",      "sft_50_50",
                                          "grpo_50_50", "sft_75_25", "grpo_75_25"};
    struct printed printed = {0};
    struct json *expected;
    char out[1024], name[64], hash[65];
    (void)state;
    need_official();
    snprintf(out, sizeof out, "%s", folder_path("paper"));
    command_run(&printed,
                "prepare --notes " OFFICIAL "prepare/discharge.csv --drgcodes " OFFICIAL
                "prepare/drgcodes.csv.gz --protocol drg-llama --title-map " OFFICIAL
                "DRG34_Mapping.csv --subset all --audit --out %s",
                out);
    assert_int_equal(printed.status, 0);
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        snprintf(name, sizeof name, "audit/%s.csv", tables[i]);
        char wanted[256];
        snprintf(wanted, sizeof wanted, EXPECTED "%s.csv", tables[i]);
        if (!files_equal(inside(out, name), wanted)) fail_msg("%s differs", tables[i]);
    }
    assert_true(json_load(&expected, EXPECTED "counts.json", 0, NULL));
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        int64_t value;
        assert_true(json_integer(json_member(json_root(expected), counts[i]), &value));
        if (flow_member(out, counts[i]) != value) fail_msg("%s differs", counts[i]);
    }
    assert_true(sha256_file(inside(out, "audit/train_text.csv"), hash, NULL));
    assert_string_equal(hash, json_string(json_member(json_root(expected), "sha256_official_train_csv")));
    assert_true(sha256_file(inside(out, "audit/test_text.csv"), hash, NULL));
    assert_string_equal(hash, json_string(json_member(json_root(expected), "sha256_official_test_csv")));
    for (size_t i = 0; i < sizeof subsets / sizeof *subsets; i++) {
        char wanted[256];
        snprintf(name, sizeof name, "%s.jsonl", subsets[i]);
        snprintf(wanted, sizeof wanted, EXPECTED "sapphire_left/%s.csv", subsets[i]);
        same_members(inside(out, name), wanted);
    }
    same_members(inside(out, "train.jsonl"), EXPECTED "train.csv");
    same_members(inside(out, "test.jsonl"), EXPECTED "test.csv");
    json_free(expected);
    printed_free(&printed);
}

/* Bases and severities in the dataset, the labels and the published table agree. */
static void two_label_targets_are_the_papers(void **state) {
    struct csv_reader *list;
    struct tsv labels;
    struct printed printed = {0};
    bool more;
    int base_of[1000], severity_of[1000];
    size_t drg, base, severity, rows = 0;
    (void)state;
    need_official();
    assert_true(csv_open(&list, EXPECTED "two_label.csv", NULL));
    const int code_column = csv_column(list, "drg_34_code"), base_column = csv_column(list, "base_label"),
              class_column = csv_column(list, "cc_class");
    while (csv_next(list, &more, NULL) && more) {
        const int code = atoi(csv_field(list, code_column, NULL));
        base_of[code] = atoi(csv_field(list, base_column, NULL));
        severity_of[code] = atoi(csv_field(list, class_column, NULL));
        const struct drg *ours = catalog_find(catalog_get(GROUPER_V34), code);
        assert_int_equal(ours->base, base_of[code]);
        assert_int_equal(ours->paper_severity, severity_of[code]);
        rows++;
    }
    csv_close(list);
    assert_int_equal(rows, 757);
    write_tables(40, "notes.csv", "codes.csv");
    const char *out = keep_path("targets");
    prepare(&printed, out, "");
    assert_true(tsv_load(&labels, inside(out, "labels.tsv"), NULL));
    assert_true(tsv_require(&labels, "", "drg", &drg, NULL) && tsv_require(&labels, "", "base", &base, NULL) &&
                tsv_require(&labels, "", "severity", &severity, NULL));
    for (size_t row = 0; row < labels.rows; row++) {
        const int code = atoi(tsv_cell(&labels, row, drg));
        assert_int_equal(atoi(tsv_cell(&labels, row, base)), base_of[code]);
        assert_int_equal(atoi(tsv_cell(&labels, row, severity)), severity_of[code]);
    }
    tsv_free(&labels);
    printed_free(&printed);
}

static int compare_strings(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void no_patient_is_on_two_sides(void **state) {
    static const char *const names[] = {"train.jsonl", "dev.jsonl", "test.jsonl"};
    struct dataset sets[3] = {{0}, {0}, {0}};
    struct printed printed = {0};
    (void)state;
    write_tables(600, "notes.csv", "codes.csv");
    const char *out = keep_path("honest");
    prepare(&printed, out, "");
    for (int s = 0; s < 3; s++) assert_true(dataset_load(&sets[s], inside(out, names[s]), NULL));
    const size_t total = sets[0].count + sets[1].count + sets[2].count;
    assert_int_equal(total, 1200);
    assert_int_equal(
        flow_member(out, "train_patients") + flow_member(out, "dev_patients") + flow_member(out, "test_patients"), 600);
    assert_int_equal(flow_member(out, "patients_in_train_and_test"), 0);
    const double shares[] = {0.8, 0.1, 0.1};
    for (int s = 0; s < 3; s++) {
        size_t of_drg[1000] = {0}, all[1000] = {0};
        for (size_t i = 0; i < sets[s].count; i++) of_drg[sets[s].stays[i].drg]++;
        for (int o = 0; o < 3; o++) {
            for (size_t i = 0; i < sets[o].count; i++) all[sets[o].stays[i].drg]++;
        }
        for (int code = 0; code < 1000; code++) {
            const double wanted = shares[s] * (double)all[code];
            if ((double)of_drg[code] < wanted - 3 || (double)of_drg[code] > wanted + 3)
                fail_msg("%s has %zu of %zu stays of DRG %d", names[s], of_drg[code], all[code], code);
        }
        const char **patients = malloc(sets[s].count * sizeof *patients);
        assert_non_null(patients);
        for (size_t i = 0; i < sets[s].count; i++) patients[i] = sets[s].stays[i].subject_id;
        qsort(patients, sets[s].count, sizeof *patients, compare_strings);
        for (int o = s + 1; o < 3; o++) {
            for (size_t i = 0; i < sets[o].count; i++) {
                const char *patient = sets[o].stays[i].subject_id;
                assert_null(bsearch(&patient, patients, sets[s].count, sizeof *patients, compare_strings));
            }
        }
        free(patients);
    }
    for (int s = 0; s < 3; s++) dataset_free(&sets[s]);
    printed_free(&printed);
}

static void the_bytes_do_not_depend_on_the_threads(void **state) {
    static const char *const names[] = {"train.jsonl", "dev.jsonl", "test.jsonl", "labels.tsv", "flow.json"};
    struct printed printed = {0};
    char one[1024], two[1024], other[1024];
    (void)state;
    write_tables(300, "notes.csv", "codes.csv");
    snprintf(one, sizeof one, "%s", folder_path("one"));
    snprintf(two, sizeof two, "%s", folder_path("two"));
    snprintf(other, sizeof other, "%s", folder_path("other"));
    prepare(&printed, one, "--threads 1");
    prepare(&printed, two, "--threads 3");
    prepare(&printed, other, "--seed 7");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_true(files_equal(inside(one, names[i]), inside(two, names[i])));
    assert_false(files_equal(inside(one, "train.jsonl"), inside(other, "train.jsonl")));
    printed_free(&printed);
}

static void check_first_text(const char *options, const char *starts, bool diagnosis) {
    struct printed printed = {0};
    struct dataset dataset = {0};
    const char *out = keep_path("text");
    char all[256];
    snprintf(all, sizeof all, "%s --force", options);
    prepare(&printed, out, all);
    assert_true(dataset_load(&dataset, inside(out, "train.jsonl"), NULL));
    const char *text = dataset.stays[0].text;
    if (strncmp(text, starts, strlen(starts)) != 0) fail_msg("%s: the text begins \"%.40s\"", options, text);
    assert_true((strstr(text, "Discharge Diagnosis") != NULL) == diagnosis);
    dataset_free(&dataset);
    printed_free(&printed);
}

static void the_part_asked_for_is_read(void **state) {
    (void)state;
    write_tables(40, "notes.csv", "codes.csv");
    check_first_text("--text full", "Chief Complaint:", true);
    check_first_text("--text hospital-course", "word", false);
    check_first_text("--text sections:hospital-course,discharge_diagnosis", "Brief Hospital Course:", true);
    check_first_text("--protocol drg-llama", "\nword", false);
}

/* Appends a line to the DRGs, so that the first stay of the first patient has two of them. */
static void add_second_drg(void) {
    struct text codes = {0};
    assert_true(file_read(&codes, folder_path("codes.csv"), 0, NULL));
    text_add(&codes, "1000,5000,HCFA,1,PSYCHOSES,,\n");
    folder_write("codes.csv", codes.data, codes.length);
    text_free(&codes);
}

static void a_stay_with_two_drgs_is_doubled_as_published_or_left_out(void **state) {
    struct printed printed = {0};
    const char *out = keep_path("several");
    (void)state;
    write_tables(60, "notes.csv", "codes.csv");
    add_second_drg();
    prepare(&printed, out, "--protocol drg-llama");
    assert_non_null(strstr(printed.errors.data, "1 stays have several different HCFA DRGs; as published"));
    assert_true(flow_member(out, "patients_in_train_and_test") > 0); /* the published split is by stay */
    assert_int_equal(flow_member(out, "merged_rows"), 121);
    prepare(&printed, out, "--force");
    assert_non_null(strstr(printed.errors.data, "1 stays have several different HCFA DRGs and were left out"));
    assert_int_equal(flow_member(out, "merged_rows"), 119);
    printed_free(&printed);
}

static void v43_says_what_it_cannot_map(void **state) {
    struct printed printed = {0};
    struct text text = {0};
    (void)state;
    write_tables(40, "notes.csv", "codes.csv");
    struct text codes = {0};
    assert_true(file_read(&codes, folder_path("codes.csv"), 0, NULL));
    text_add(&codes, "1,99,HCFA,1,NO SUCH DRG AT ALL,,\n");
    folder_write("codes.csv", codes.data, codes.length);
    const char *out = keep_path("now");
    prepare(&printed, out, "--grouper v43");
    assert_true(file_read(&text, inside(out, "labels.tsv"), 0, NULL));
    assert_non_null(strstr(text.data, "# grouper v43"));
    text_clear(&text);
    assert_true(file_read(&text, inside(out, "descriptions.tsv"), 0, NULL));
    assert_non_null(strstr(text.data, "NO SUCH DRG AT ALL\t1\t\t"));
    assert_non_null(strstr(printed.out.data, "have no DRG in v43"));
    text_free(&text);
    text_free(&codes);
    printed_free(&printed);
}

static void refuses(const char *part, const char *notes, const char *codes) {
    const char *out = keep_path("refused");
    command_refuses(part, "prepare --notes %s --drgcodes %s --out %s", notes, codes, out);
    if (path_exists(out)) fail_msg("%s is left behind after \"%s\"", out, part);
}

/* The first `share` of a file's bytes, compressed. */
static const char *cut_gzip(const char *path, double share) {
    struct text plain = {0};
    assert_true(file_read(&plain, path, 0, NULL));
    uLongf size = compressBound(plain.length) + 64;
    unsigned char *packed = malloc(size);
    z_stream stream = {.next_in = (unsigned char *)plain.data,
                       .avail_in = (uInt)plain.length,
                       .next_out = packed,
                       .avail_out = (uInt)size};
    assert_non_null(packed);
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    const char *cut = folder_write("cut.csv.gz", packed, (size_t)(share * (double)stream.total_out));
    deflateEnd(&stream);
    free(packed);
    text_free(&plain);
    return cut;
}

static void damaged_files_are_refused_and_nothing_is_left(void **state) {
    static const char header[] = "note_id,subject_id,hadm_id,text\n";
    char notes[1024], codes[1024], bad[512];
    (void)state;
    write_tables(40, "notes.csv", "codes.csv");
    snprintf(notes, sizeof notes, "%s", folder_path("notes.csv"));
    snprintf(codes, sizeof codes, "%s", folder_path("codes.csv"));
    refuses("no column \"text\"", folder_write_text("bad.csv", "note_id,subject_id,hadm_id,note\n1,1,1,x\n"), codes);
    refuses("no column \"drg_type\"", notes, folder_write_text("bad.csv", "hadm_id,description\n1,x\n"));
    snprintf(bad, sizeof bad, "%s1,1,1,a\n2,2,2\n", header);
    refuses("line 3 has 3 fields, the header has 4", folder_write_text("bad.csv", bad), codes);
    snprintf(bad, sizeof bad, "%s1,1,1,\"a\nb\xff\"\n", header);
    refuses("record that begins on line 2 is not UTF-8", folder_write_text("bad.csv", bad), codes);
    snprintf(bad, sizeof bad, "%s1,1,x7,a\n", header);
    refuses("hadm_id \"x7\"", folder_write_text("bad.csv", bad), codes);
    snprintf(bad, sizeof bad, "%s1,1,1,\"a\n", header);
    refuses("a quote is not closed", folder_write_text("bad.csv", bad), codes);
    refuses("cut.csv.gz", cut_gzip(notes, 0.6), codes);
    refuses("cut.csv.gz", notes, cut_gzip(codes, 0.6));
    refuses("empty", folder_write_text("bad.csv", ""), codes);
    refuses("no row of type HCFA", notes, folder_write_text("bad.csv", "hadm_id,drg_type,description\n1,APR,x\n"));
    refuses("no stay is left", folder_write_text("bad.csv", header), codes);
    refuses("No such file", folder_path("absent.csv"), codes);
}

static void a_full_disk_leaves_nothing(void **state) {
    char command[8192];
    const char *build = getenv("B"), *out = keep_path("full");
    (void)state;
    write_tables(300, "notes.csv", "codes.csv");
    snprintf(command, sizeof command,
             "trap '' XFSZ; ulimit -f 64; exec %s/casemix prepare --notes %s --drgcodes %s --out %s >/dev/null 2>&1",
             build == NULL ? "build" : build, folder_path("notes.csv"), folder_path("codes.csv"), out);
    const int status = system(command);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_false(path_exists(out));
}

static void a_folder_in_use_is_left_alone(void **state) {
    struct printed printed = {0};
    const char *out = keep_path("used");
    (void)state;
    write_tables(40, "notes.csv", "codes.csv");
    prepare(&printed, out, "");
    command_refuses("not empty", "prepare --notes %s --drgcodes %s --out %s", folder_path("notes.csv"),
                    folder_path("codes.csv"), out);
    prepare(&printed, out, "--force --protocol drg-llama");
    assert_false(path_exists(inside(out, "dev.jsonl"))); /* of the other protocol */
    printed_free(&printed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_cohort_is_reproduced),
        cmocka_unit_test(two_label_targets_are_the_papers),
        cmocka_unit_test(no_patient_is_on_two_sides),
        cmocka_unit_test(the_bytes_do_not_depend_on_the_threads),
        cmocka_unit_test(the_part_asked_for_is_read),
        cmocka_unit_test(a_stay_with_two_drgs_is_doubled_as_published_or_left_out),
        cmocka_unit_test(v43_says_what_it_cannot_map),
        cmocka_unit_test(damaged_files_are_refused_and_nothing_is_left),
        cmocka_unit_test(a_full_disk_leaves_nothing),
        cmocka_unit_test(a_folder_in_use_is_left_alone),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
