/* Finding the hospital course in a discharge summary. */
#include "base/error.h"
#include "drg/note.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect(const char *note, bool found, const char *section) {
    struct span span;
    assert_int_equal(note_hospital_course(note, strlen(note), &span), found);
    if (span.end - span.start != strlen(section) || memcmp(note + span.start, section, span.end - span.start) != 0)
        fail_msg("\"%.*s\" instead of \"%s\"", (int)(span.end - span.start), note + span.start, section);
}

static void the_section_ends_at_the_next_heading(void **state) {
    (void)state;
    expect("HPI:\nx\n\nBrief Hospital Course:\nCame with AKI.\n\nMedications on Admission:\n1. aspirin\n", true,
           "Came with AKI.");
    expect("HOSPITAL COURSE\nCame with AKI.\nDISCHARGE DIAGNOSIS:\nAKI", true, "Came with AKI.");
    expect("Summary of Hospital Course by Problem: # AKI: fluids\n# HTN\nDischarge Disposition:\nHome", true,
           "# AKI: fluids\n# HTN");
    expect("**Hospital Course:**\r\nCame.\r\n\r\nDischarge Condition:\r\nGood", true, "Came.");
    expect("Brief Hospital Course:\nto the end of the note\n", true, "to the end of the note");
}

static void words_inside_a_sentence_are_no_heading(void **state) {
    (void)state;
    expect("Her hospital course was long.\n", false, "Her hospital course was long.");
    expect("Brief Hospital Course:\nHeld discharge medications until stable. Disposition unclear.\nFollow-up:\nPCP",
           true, "Held discharge medications until stable. Disposition unclear.");
}

static void an_empty_section_is_passed_over(void **state) {
    (void)state;
    expect("Brief Hospital Course:\n\nDischarge Medications:\nnone\n\nHospital Course:\nReal text.\n", true,
           "Real text.");
    expect("  no headings at all \n", false, "no headings at all");
    expect("", false, "");
}

static void notes_that_cannot_be_read_are_refused(void **state) {
    (void)state;
    struct error error = {0};
    assert_true(note_check("n", "fine", 4, &error));
    assert_false(note_check("n", "", 0, &error));
    assert_non_null(strstr(error.message, "n: the note is empty"));
    assert_false(note_check("n", " \n\t ", 4, &error));
    assert_false(note_check("n", "bad \xff byte", 10, &error));
    assert_non_null(strstr(error.message, "invalid UTF-8 at byte 4"));
    assert_false(note_check("n", "a\0b", 3, &error));
    char *large = malloc(NOTE_LIMIT + 1);
    assert_non_null(large);
    memset(large, 'a', NOTE_LIMIT + 1);
    assert_true(note_check("n", large, NOTE_LIMIT, &error));
    assert_false(note_check("n", large, NOTE_LIMIT + 1, &error));
    free(large);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_section_ends_at_the_next_heading),
        cmocka_unit_test(words_inside_a_sentence_are_no_heading),
        cmocka_unit_test(an_empty_section_is_passed_over),
        cmocka_unit_test(notes_that_cannot_be_read_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
