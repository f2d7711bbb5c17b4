/* The files of a synthetic cohort: MIMIC-IV's columns, dates that agree with one another, frequencies of the claims,
 * and given claims kept as they are. */
#include "base/csv.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/text.h"
#include "command.h"
#include "drg/catalog.h"
#include "folder.h"
#include <ctype.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Runs casemix synth, which must succeed. */
static void run(const char *format, ...) {
    char arguments[2048];
    struct printed printed = {0};
    va_list list;
    va_start(list, format);
    vsnprintf(arguments, sizeof arguments, format, list);
    va_end(list);
    command_run(&printed, "synth %s", arguments);
    if (printed.status != 0) fail_msg("synth %s: %s", arguments, printed.errors.data);
    printed_free(&printed);
}

/* A file of a cohort read whole: its fields row by row. */
struct table {
    struct csv_reader *reader;
    int columns[16];
};

static void table_open(struct table *table, const char *cohort, const char *file, const char *const *names, int count) {
    struct error error = {0};
    char path[2048];
    snprintf(path, sizeof path, "%s/%s", cohort, file);
    if (!csv_open(&table->reader, path, &error)) fail_msg("%s", error.message);
    assert_int_equal(csv_column_count(table->reader), count);
    for (int c = 0; c < count; c++) {
        assert_string_equal(csv_column_name(table->reader, (size_t)c), names[c]);
        table->columns[c] = c;
    }
}

static bool table_next(struct table *table) {
    struct error error = {0};
    bool more = false;
    if (!csv_next(table->reader, &more, &error)) fail_msg("%s", error.message);
    return more;
}

static const char *cell(const struct table *table, int column) {
    return csv_field(table->reader, column, NULL);
}

static const char *const admission_columns[] = {"subject_id",
                                                "hadm_id",
                                                "admittime",
                                                "dischtime",
                                                "deathtime",
                                                "admission_type",
                                                "admit_provider_id",
                                                "admission_location",
                                                "discharge_location",
                                                "insurance",
                                                "language",
                                                "marital_status",
                                                "race",
                                                "edregtime",
                                                "edouttime",
                                                "hospital_expire_flag"};
static const char *const patient_columns[] = {"subject_id",        "gender", "anchor_age", "anchor_year",
                                              "anchor_year_group", "dod"};
static const char *const drg_columns[] = {"subject_id",  "hadm_id",      "drg_type",     "drg_code",
                                          "description", "drg_severity", "drg_mortality"};
static const char *const procedure_columns[] = {"subject_id", "hadm_id",  "seq_num",
                                                "chartdate",  "icd_code", "icd_version"};
static const char *const note_columns[] = {"note_id",  "subject_id", "hadm_id",   "note_type",
                                           "note_seq", "charttime",  "storetime", "text"};

/* What the files say about a stay; strings of MIMIC-IV's dates compare as dates do. */
struct stay_facts {
    char admitted[20], discharged[20], died[20], location[48];
    int subject, drg;
};

enum { STAYS = 4000, FIRST_STAY = 20000000, FIRST_PATIENT = 10000000 };

static struct stay_facts *read_admissions(const char *cohort) {
    struct stay_facts *facts = calloc(STAYS, sizeof *facts);
    struct table table;
    int rows = 0;
    assert_non_null(facts);
    table_open(&table, cohort, "admissions.csv.gz", admission_columns, 16);
    while (table_next(&table)) {
        struct stay_facts *stay = &facts[atoi(cell(&table, 1)) - FIRST_STAY];
        stay->subject = atoi(cell(&table, 0));
        snprintf(stay->admitted, sizeof stay->admitted, "%s", cell(&table, 2));
        snprintf(stay->discharged, sizeof stay->discharged, "%s", cell(&table, 3));
        snprintf(stay->died, sizeof stay->died, "%s", cell(&table, 4));
        snprintf(stay->location, sizeof stay->location, "%s", cell(&table, 8));
        assert_true(strcmp(stay->admitted, stay->discharged) < 0);
        const bool dead = stay->died[0] != '\0';
        assert_int_equal(dead, strcmp(stay->location, "DIED") == 0);
        assert_int_equal(dead, atoi(cell(&table, 15)));
        if (dead) assert_true(strcmp(stay->died, stay->discharged) <= 0 && strcmp(stay->died, stay->admitted) > 0);
        if (cell(&table, 13)[0] != '\0') {
            assert_true(strcmp(cell(&table, 13), stay->admitted) < 0);
            assert_true(strcmp(cell(&table, 13), cell(&table, 14)) < 0);
        }
        rows++;
    }
    csv_close(table.reader);
    assert_int_equal(rows, STAYS);
    return facts;
}

/* A patient's stays follow one another, and none follows a death. */
static void check_order(const struct stay_facts *facts) {
    int repeated = 0, deaths = 0;
    for (int i = 1; i < STAYS; i++) {
        deaths += facts[i].died[0] != '\0';
        if (facts[i].subject != facts[i - 1].subject) continue;
        repeated++;
        assert_true(strcmp(facts[i - 1].discharged, facts[i].admitted) < 0);
        assert_true(facts[i - 1].died[0] == '\0');
        if (i >= 4) assert_true(facts[i].subject != facts[i - 4].subject);
    }
    assert_true(repeated > STAYS / 8);
    assert_true(deaths > STAYS / 200);
}

static void check_patients(const char *cohort, const struct stay_facts *facts) {
    struct table table;
    int rows = 0;
    table_open(&table, cohort, "patients.csv.gz", patient_columns, 6);
    int last = 0; /* stay of the patient before */
    while (table_next(&table)) {
        assert_int_equal(atoi(cell(&table, 0)), FIRST_PATIENT + rows);
        const int first = last;
        while (last < STAYS && facts[last].subject == FIRST_PATIENT + rows) last++;
        const struct stay_facts *stay = &facts[last - 1];
        assert_true(last > first);
        assert_memory_equal(cell(&table, 3), facts[first].admitted, 4);
        const int age = atoi(cell(&table, 2));
        assert_true(age >= 18 && (age <= 89 || age == 91));
        const char *death = cell(&table, 5);
        if (stay->died[0] != '\0')
            assert_memory_equal(death, stay->died, 10);
        else if (death[0] != '\0')
            assert_true(strncmp(death, stay->discharged, 10) > 0);
        rows++;
    }
    csv_close(table.reader);
    assert_int_equal(last, STAYS);
}

static void check_drgs(const char *cohort, struct stay_facts *facts) {
    struct table table;
    table_open(&table, cohort, "drgcodes.csv.gz", drg_columns, 7);
    while (table_next(&table)) {
        const struct drg *drg = catalog_find(catalog_get(GROUPER_V43), atoi(cell(&table, 3)));
        struct stay_facts *stay = &facts[atoi(cell(&table, 1)) - FIRST_STAY];
        assert_non_null(drg);
        assert_string_equal(cell(&table, 2), "HCFA");
        assert_string_equal(cell(&table, 4), drg->title);
        stay->drg = drg->code;
        /* Deaths that another DRG would be given for. */
        if (stay->died[0] != '\0') assert_true((drg->code < 280 || drg->code > 282) && strcmp(drg->mdc, "14") != 0);
        if (strcmp(stay->location, "AGAINST ADVICE") == 0) assert_true(drg->code < 894 || drg->code > 897);
    }
    csv_close(table.reader);
}

static void check_procedures_and_notes(const char *cohort, const struct stay_facts *facts) {
    struct table table;
    table_open(&table, cohort, "procedures_icd.csv.gz", procedure_columns, 6);
    while (table_next(&table)) {
        const struct stay_facts *stay = &facts[atoi(cell(&table, 1)) - FIRST_STAY];
        assert_true(strncmp(cell(&table, 3), stay->admitted, 10) >= 0);
        assert_true(strncmp(cell(&table, 3), stay->discharged, 10) <= 0);
    }
    csv_close(table.reader);
    table_open(&table, cohort, "discharge.csv.gz", note_columns, 8);
    while (table_next(&table)) {
        const struct stay_facts *stay = &facts[atoi(cell(&table, 2)) - FIRST_STAY];
        assert_memory_equal(cell(&table, 5), stay->discharged, 10);
        assert_true(strcmp(cell(&table, 5), cell(&table, 6)) < 0);
    }
    csv_close(table.reader);
}

static void columns_dates_and_deaths_agree(void **state) {
    (void)state;
    char cohort[1024];
    snprintf(cohort, sizeof cohort, "%s", folder_path("cohort"));
    run("--stays %d --seed 6 --temper 0.5 --out %s", (int)STAYS, cohort);
    struct stay_facts *facts = read_admissions(cohort);
    check_order(facts);
    check_patients(cohort, facts);
    check_drgs(cohort, facts);
    check_procedures_and_notes(cohort, facts);
    free(facts);
}

/* Stays of each DRG of a cohort. */
static size_t count_drgs(const char *cohort, double *counts) {
    struct table table;
    size_t different = 0;
    memset(counts, 0, 1000 * sizeof *counts);
    table_open(&table, cohort, "drgcodes.csv.gz", drg_columns, 7);
    while (table_next(&table)) counts[atoi(cell(&table, 3))]++;
    csv_close(table.reader);
    for (int code = 0; code < 1000; code++) different += counts[code] > 0;
    return different;
}

static void drgs_come_as_often_as_in_claims(void **state) {
    (void)state;
    static const char path[] = "../shared/reference/drg-profile-v43.tsv.gz";
    struct tsv table;
    struct error error = {0};
    double wanted[1000] = {0}, all = 0, counts[1000], distance = 0;
    enum { DRAWN = 20000 };
    if (!path_exists(path)) {
        print_message("skipped: %s is absent\n", path);
        skip();
    }
    assert_true(tsv_load(&table, path, &error));
    for (size_t row = 0; row < table.rows; row++)
        wanted[atoi(tsv_cell(&table, row, 0))] = atof(tsv_cell(&table, row, 1));
    tsv_free(&table);
    for (int code = 0; code < 1000; code++) all += wanted[code];
    char cohort[1024];
    snprintf(cohort, sizeof cohort, "%s", folder_path("claims-like"));
    run("--stays %d --seed 2 --words 60 --out %s", (int)DRAWN, cohort);
    count_drgs(cohort, counts);
    for (int code = 0; code < 1000; code++) distance += fabs(counts[code] / DRAWN - wanted[code] / all) / 2;
    print_message("total-variation distance of %d stays: %.4f\n", (int)DRAWN, distance);
    /* Chance alone makes about 0.055 of 20,000 stays and 0.024 of 100,000. */
    assert_true(distance < 0.065);
}

static void uniform_coverage_meets_nearly_every_drg(void **state) {
    (void)state;
    double counts[1000];
    char cohort[1024];
    snprintf(cohort, sizeof cohort, "%s", folder_path("uniform"));
    run("--stays 5000 --seed 2 --temper 0 --words 60 --out %s", cohort);
    const size_t different = count_drgs(cohort, counts);
    if (different < 640) fail_msg("%zu DRGs", different);
}

/* Adds a stay's codes behind one another, in the order of the rows. */
static void join_codes(const char *cohort, const char *file, struct text *codes, int code_column, size_t stays) {
    char path[2048];
    struct csv_reader *reader;
    struct error error = {0};
    bool more;
    snprintf(path, sizeof path, "%s/%s", cohort, file);
    assert_true(csv_open(&reader, path, &error));
    while (csv_next(reader, &more, &error) && more) {
        const size_t stay = (size_t)(atoi(csv_field(reader, 1, NULL)) - FIRST_STAY);
        assert_true(stay < stays);
        if (codes[stay].length > 0) text_add_char(&codes[stay], ',');
        text_add(&codes[stay], csv_field(reader, code_column, NULL));
    }
    csv_close(reader);
}

static const char sample_claims[] = "claim_id\tpdx\tsdx\tpx\tdrg\tmdc\ttype\tseverity\n"
                                    "a1\tJ189\tJ9600,I10\t\t193\t04\tmedical\tMCC\n"
                                    "a2\tM1711\tE119\t0SRC0J9\t470\t08\tsurgical\tNON\n"
                                    /* neither diagnosis nor procedure is in the tables of the drawn cohort */
                                    "a3\tA0101\tQ8500,W5621XA\t0WQKXZZ\t868\t18\tmedical\tCC\n"
                                    "a4\tI214\t\t\t285\t05\tmedical\tNON\n"
                                    "a5\tP0726\tP220\t\t790\t15\tmedical\tMCC\n"
                                    "a6\tO80\tZ370\t10E0XZZ\t807\t14\tmedical\tNON\n"
                                    "a7\tZ99999Z\t\t\t470\t08\tmedical\tNON\n";

static void given_claims_keep_their_codes_and_drg(void **state) {
    (void)state;
    static const char *const diagnoses[] = {"J189,J9600,I10", "M1711,E119", "A0101,Q8500,W5621XA",
                                            "I214",           "P0726,P220", "O80,Z370"},
                             *const procedures[] = {"", "0SRC0J9", "0WQKXZZ", "", "", "10E0XZZ"};
    static const int drgs[] = {193, 470, 868, 285, 790, 807};
    const char *file = folder_write_text("claims.tsv", sample_claims);
    char cohort[1024];
    snprintf(cohort, sizeof cohort, "%s", folder_path("given"));
    struct printed printed = {0};
    struct text told[6] = {{0}}, done[6] = {{0}};
    command_run(&printed, "synth --claims %s --out %s --seed 3", file, cohort);
    assert_int_equal(printed.status, 0);
    assert_non_null(strstr(printed.errors.data, "1 of 7 claims left out"));
    printed_free(&printed);
    join_codes(cohort, "diagnoses_icd.csv.gz", told, 3, 6);
    join_codes(cohort, "procedures_icd.csv.gz", done, 4, 6);
    struct table table;
    int row = 0;
    table_open(&table, cohort, "drgcodes.csv.gz", drg_columns, 7);
    for (; table_next(&table); row++) assert_int_equal(atoi(cell(&table, 3)), drgs[row]);
    csv_close(table.reader);
    assert_int_equal(row, 6);
    for (int i = 0; i < 6; i++) {
        assert_string_equal(told[i].data, diagnoses[i]);
        assert_string_equal(done[i].data == NULL ? "" : done[i].data, procedures[i]);
        text_free(&told[i]);
        text_free(&done[i]);
    }
    /* DRG 285 is of those who died; a newborn is nobody else's stay. */
    table_open(&table, cohort, "admissions.csv.gz", admission_columns, 16);
    for (row = 0; table_next(&table); row++) assert_int_equal(strcmp(cell(&table, 8), "DIED") == 0, row == 3);
    csv_close(table.reader);
}

static void the_first_claims_are_taken(void **state) {
    (void)state;
    double counts[1000];
    const char *file = folder_write_text("claims.tsv", sample_claims);
    char cohort[1024];
    snprintf(cohort, sizeof cohort, "%s", folder_path("two"));
    run("--claims %s --stays 2 --out %s", file, cohort);
    assert_int_equal(count_drgs(cohort, counts), 2);
    assert_true(counts[193] > 0 && counts[470] > 0);
}

/* Every claim of the public file, each code of it. */
static void all_public_claims_are_rendered(void **state) {
    (void)state;
    static const char path[] = "../shared/claims/claims-train.tsv.gz";
    struct printed printed = {0};
    double counts[1000];
    if (!path_exists(path)) {
        print_message("skipped: %s is absent\n", path);
        skip();
    }
    command_run(&printed, "synth --claims %s --stays 12000 --words 60 --out %s", path, folder_path("public"));
    assert_int_equal(printed.status, 0);
    assert_null(strstr(printed.errors.data, "left out"));
    printed_free(&printed);
    count_drgs(folder_path("public"), counts);
    double sum = 0;
    for (int code = 0; code < 1000; code++) sum += counts[code];
    assert_true(sum > 11999.5 && sum < 12000.5);
}

static void damaged_claims_are_refused_by_line(void **state) {
    (void)state;
    static const struct {
        const char *content, *part;
    } cases[] = {
        {"claim_id\tpdx\tsdx\tpx\tdrg\nx\tJ189\t\t\t1000\n", "line 2: \"1000\" is no DRG"},
        {"claim_id\tpdx\tsdx\tpx\tdrg\nx\tJ189\t\t\t9\n", "is no DRG"},
        {"claim_id\tpdx\tsdx\tpx\tdrg\nx\tJ189\t\t\t193\ny\tJ18.9\t\t\t193\n", "line 3: \"J18.9\" is no ICD-10-CM"},
        {"claim_id\tpdx\tsdx\tpx\tdrg\nx\tJ189\t\t0DT\t193\n", "no ICD-10-PCS"},
        {"claim_id\tpdx\tsdx\tpx\tdrg\nx\t\t\t\t193\n", "no principal diagnosis"},
        {"claim_id\tpdx\tsdx\tpx\nx\tJ189\t\t\n", "drg"},
        {"claim_id\tpdx\tsdx\tpx\tdrg\nx\tJ189\t193\n", "line 2"},
        {"claim_id\tpdx\tsdx\tpx\tdrg\n", "no claims"},
        {"claim_id\tpdx\tsdx\tpx\tdrg\nx\tZ99999Z\t\t\t193\n", "no table of casemix knows"},
        {"claim_id\tpdx\tsdx\tpx\tdrg\nx\tJ189,J181\t\t\t193\n", "more than 1 codes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *file = folder_write_text("bad.tsv", cases[i].content);
        command_refuses(cases[i].part, "synth --claims %s --out %s", file, folder_path("bad"));
        assert_false(path_exists(folder_path("bad/discharge.csv.gz")));
    }
}

static void apr_rows_stand_beside_the_others(void **state) {
    (void)state;
    struct table table;
    char plain[1024], both[1024], previous[64] = "";
    int rows = 0, levels[5] = {0};
    snprintf(plain, sizeof plain, "%s", folder_path("plain"));
    snprintf(both, sizeof both, "%s", folder_path("both"));
    run("--stays 1500 --seed 5 --out %s", plain);
    run("--stays 1500 --seed 5 --apr --out %s", both);
    table_open(&table, both, "drgcodes.csv.gz", drg_columns, 7);
    for (; table_next(&table); rows++) {
        const bool apr = rows % 2 == 1;
        assert_string_equal(cell(&table, 2), apr ? "APR" : "HCFA");
        if (apr) {
            const int severity = atoi(cell(&table, 5)), mortality = atoi(cell(&table, 6));
            assert_string_equal(cell(&table, 1), previous);
            assert_true(severity >= 1 && severity <= 4 && mortality >= 1 && mortality <= 4);
            assert_null(strstr(cell(&table, 4), "MCC"));
            levels[severity]++;
        } else {
            assert_true(cell(&table, 5)[0] == '\0' && cell(&table, 6)[0] == '\0');
        }
        snprintf(previous, sizeof previous, "%s", cell(&table, 1));
    }
    csv_close(table.reader);
    assert_int_equal(rows, 3000);
    for (int level = 1; level <= 4; level++) assert_true(levels[level] > 0);
    /* Nothing else changes. */
    char a[2048], b[2048];
    snprintf(a, sizeof a, "%s/discharge.csv.gz", plain);
    snprintf(b, sizeof b, "%s/discharge.csv.gz", both);
    assert_true(files_equal(a, b));
}

static void describe_prints_what_the_tables_hold(void **state) {
    (void)state;
    struct printed printed = {0};
    command_run(&printed, "synth --describe");
    assert_int_equal(printed.status, 0);
    static const struct {
        const char *line;
        int least;
    } lines[] = {{"\nconditions with own wordings", 600}, {"\nprocedures with own wordings", 250}, {"DRGs (v43)", 600}};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const char *at = strstr(printed.out.data, lines[i].line);
        assert_non_null(at);
        assert_true(atoi(at + strlen(lines[i].line)) >= lines[i].least);
        if (i == 2) continue;
        const char *three = strstr(at, "with three or more");
        assert_non_null(three);
        assert_true(atoi(three + strlen("with three or more")) >= lines[i].least);
    }
    printed_free(&printed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_dates_and_deaths_agree),
        cmocka_unit_test(drgs_come_as_often_as_in_claims),
        cmocka_unit_test(uniform_coverage_meets_nearly_every_drg),
        cmocka_unit_test(given_claims_keep_their_codes_and_drg),
        cmocka_unit_test(the_first_claims_are_taken),
        cmocka_unit_test(all_public_claims_are_rendered),
        cmocka_unit_test(damaged_claims_are_refused_by_line),
        cmocka_unit_test(apr_rows_stand_beside_the_others),
        cmocka_unit_test(describe_prints_what_the_tables_hold),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
