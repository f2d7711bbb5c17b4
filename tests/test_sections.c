/* Sections of a note by name: which headings are known, where a section ends, and that lists of names are read
 * strictly. */
#include "base/error.h"
#include "base/text.h"
#include "drg/sections.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char note[] = "Name:  ___   Unit No:  ___\n \nAllergies:\nnone\n \nChief Complaint:\nfever\n\n"
                           "Past Medical History:\n- COPD\n- on admission he was blue\n\n"
                           "HOSPITAL COURSE: treated.\n\n# Follow-up was arranged: yes\n\n"
                           "Discharge Diagnosis:\nPRIMARY: pneumonia\n\nFollowup Instructions:\n___\n";

static void copied(const char *names, const char *expected, size_t count) {
    section_set set;
    struct error error = {0};
    struct text out = {0};
    if (!section_set_parse(&set, names, &error)) fail_msg("%s", error.message);
    assert_int_equal(sections_copy(&out, note, sizeof note - 1, set), count);
    assert_string_equal(out.data == NULL ? "" : out.data, expected);
    text_free(&out);
}

static void sections_run_from_their_heading_to_the_next(void **state) {
    (void)state;
    copied("chief complaint", "Chief Complaint:\nfever", 1);
    copied("past-medical-history", "Past Medical History:\n- COPD\n- on admission he was blue", 1);
    copied("Hospital_Course", "HOSPITAL COURSE: treated.\n\n# Follow-up was arranged: yes", 1);
    copied("followup instructions", "Followup Instructions:\n___", 1);
}

static void several_stand_in_the_order_of_the_note(void **state) {
    (void)state;
    copied("discharge diagnosis,allergies", "Allergies:\nnone\n\nDischarge Diagnosis:\nPRIMARY: pneumonia", 2);
    copied("family history", "", 0);
}

static void names_are_read_strictly(void **state) {
    (void)state;
    static const char *const wrong[] = {"", ",", "chief", "chief complaint,,allergies", "name", "chief complaints"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        section_set set;
        struct error error = {0};
        if (section_set_parse(&set, wrong[i], &error)) fail_msg("\"%s\" was taken", wrong[i]);
        assert_true(error.usage);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_run_from_their_heading_to_the_next),
        cmocka_unit_test(several_stand_in_the_order_of_the_note),
        cmocka_unit_test(names_are_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
