/* The hospital course as the published preprocessing cuts it: every note of the public set, and its quirks one by one.
 */
#include "base/csv.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"
#include "drg/published_section.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The pattern that matches, and the section when there is one. */
static int cut(const char *note, char *section, size_t capacity) {
    struct span span;
    const int pattern = published_section(note, strlen(note), &span);
    section[0] = '\0';
    if (pattern > 0) snprintf(section, capacity, "%.*s", (int)(span.end - span.start), note + span.start);
    return pattern;
}

static void check(const char *note, int pattern, const char *expected) {
    char section[512];
    assert_int_equal(cut(note, section, sizeof section), pattern);
    assert_string_equal(section, expected);
}

static void sections_run_to_the_last_delimiter(void **state) {
    (void)state;
    check("Brief Hospital Course:\nA.\nMedications on Admission:\nx", 1, "\nA.\n");
    check("Brief Hospital Course: lost\n\n\nA.\n\n___ on Admission:", 1, "\nA.\n\n");
    check("Brief Hospital Course:\nA.\nMedications on Admission:\nB\nMedications on Admission:", 1,
          "\nA.\nMedications on Admission:\nB\n");
    check("Brief Hospital Course:\nA.\nDischarge Medications:\nB\nDischarge Medications (new)", 2,
          "\nA.\nDischarge Medications:\nB\n");
    check("Brief Hospital Course:\nA.\nDischarge Medications:\nB\n___  on Admission", 1,
          "\nA.\nDischarge Medications:\nB\n");
    check("Brief Hospital Course\n\nMedications on Admission", 1, "\n");
}

static void headers_and_delimiters_are_exact(void **state) {
    (void)state;
    check("BRIEF HOSPITAL COURSE:\nA.\nMedications on Admission:", 0, "");
    check("Brief Hospital Course: Medications on Admission", 0, "");
    check("Medications on Admission\nBrief Hospital Course:\nA.\n", 0, "");
    check("Brief Hospital Course:\rA.\rMedications on Admission", 0, "");
    check("", 0, "");
}

static void the_dead_pattern_wants_24_blanks(void **state) {
    (void)state;
    check("HOSPITAL COURSE:\nA.\nDISCHARGE DIAGNOSIS", 0, "");
    check("HOSPITAL COURSE                        :\nA.\n                        DISCHARGE DIAGNOSIS", 3, "\nA.\n");
    check("HOSPITAL COURSE                        \nA.\n                         DISCHARGE INSTRUCTIONS", 3, "\nA.\n ");
}

static void laboratory_blanks_begin_a_section(void **state) {
    (void)state;
    check("Mg-1.___ x\nA.\nMedications on Admission", 4, " x\nA.\n");
    check("Mg-3.___ x\nA.\nMedications on Admission", 0, "");
    check("LACTATE-2\xc2\xb5___\nA.\nMedications on Admission", 4, "\nA.\n");
    check("Epi-___ Gap-___\n\nA.\nMedications on Admission\n", 4, " Gap-___\n\nA.\n");
    check("Epi-___ Medications on Admission", 0, "");
}

static void words_are_pythons(void **state) {
    static const char words[] = "a\x1c"
                                "b\xc2\xa0"
                                "c\xe3\x80\x80"
                                "d\xe2\x80\x8b"
                                "d e\n";
    (void)state;
    assert_int_equal(count_words(words, sizeof words - 1, SIZE_MAX), 5);
    assert_int_equal(count_words(words, sizeof words - 1, 3), 3);
    assert_int_equal(count_words("", 0, SIZE_MAX), 0);
    assert_int_equal(count_words(" \t\r\n", 4, SIZE_MAX), 0);
}

static void every_public_note_is_cut_alike(void **state) {
    static const char notes[] = "../shared/official/prepare/discharge.csv",
                      expected[] = "../shared/official/prepare/expected/sections.csv";
    struct csv_reader *note, *answer;
    struct error error = {0};
    bool more;
    size_t rows = 0;
    (void)state;
    if (!path_exists(notes)) {
        print_message("skipped: %s is absent\n", notes);
        skip();
    }
    assert_true(csv_open(&note, notes, &error) && csv_open(&answer, expected, &error));
    const int text_column = csv_column(note, "text"), pattern = csv_column(answer, "pattern"),
              words = csv_column(answer, "words"), sha256 = csv_column(answer, "sha256");
    while (csv_next(note, &more, &error) && more) {
        size_t length;
        struct span span;
        char hex[65];
        const char *text = csv_field(note, text_column, &length);
        assert_true(csv_next(answer, &more, &error) && more);
        const int found = published_section(text, length, &span);
        assert_int_equal(found, atoi(csv_field(answer, pattern, NULL)));
        rows++;
        if (found == 0) continue;
        assert_int_equal(count_words(text + span.start, span.end - span.start, SIZE_MAX),
                         atoi(csv_field(answer, words, NULL)));
        sha256_hex(text + span.start, span.end - span.start, hex);
        assert_string_equal(hex, csv_field(answer, sha256, NULL));
    }
    csv_close(note);
    csv_close(answer);
    assert_true(rows > 500);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_run_to_the_last_delimiter),
        cmocka_unit_test(headers_and_delimiters_are_exact),
        cmocka_unit_test(the_dead_pattern_wants_24_blanks),
        cmocka_unit_test(laboratory_blanks_begin_a_section),
        cmocka_unit_test(words_are_pythons),
        cmocka_unit_test(every_public_note_is_cut_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
