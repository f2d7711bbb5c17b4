/* HL7 version 2 documents: what of a message is the note, and what is refused. All texts are invented. */
#include "base/base64.h"
#include "base/error.h"
#include "base/text.h"
#include "command.h"
#include "data/hl7.h"
#include "folder.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HEADER "MSH|^~\\&|A|B|C|D|2026||MDM^T02^MDM_T02|CTRL1|P|2.5.1"
#define DOCUMENT "TXA|1|DS|FT|2026||||||||DOC9^B\r"

/* What was taken: "id=text;" for each note. */
static struct text taken;
static struct error error;

static bool take(void *context, const char *id, const char *text, size_t length, struct error *unused) {
    (void)context, (void)unused;
    text_printf(&taken, "%s=", id);
    text_append(&taken, text, length);
    text_add_char(&taken, ';');
    return true;
}

/* A copy without a NUL behind it, so that the sanitizer sees a read beyond the end. */
static bool read_bytes(const char *bytes, size_t length) {
    struct text copy = {0};
    text_clear(&taken);
    error = (struct error){0};
    text_append(&copy, bytes, length);
    const bool done = hl7_read("f", copy.data, copy.length, take, NULL, &error);
    text_free(&copy);
    return done;
}

static void gives(const char *message, const char *expected) {
    if (!read_bytes(message, strlen(message))) fail_msg("%s", error.message);
    assert_string_equal(taken.data, expected);
}

static void refuses(const char *message, const char *part) {
    assert_false(read_bytes(message, strlen(message)));
    if (strstr(error.message, part) == NULL) fail_msg("\"%s\" without \"%s\"", error.message, part);
    assert_null(strstr(error.message, "MARKER"));
}

static void segments_behind_txa_are_the_note(void **state) {
    (void)state;
    gives(HEADER "\rOBX|1|TX|||of an order\r" DOCUMENT "OBX|1|TX|||first line\rOBX|2|TX|||\rOBX|3|ST|||second~third\r"
                 "OBX|4|NM|||42\rNTE|1||no\r",
          "DOC9=first line\n\nsecond\nthird;");
}

static void escapes_are_resolved_and_what_is_none_stays(void **state) {
    (void)state;
    gives(HEADER "\r" DOCUMENT "OBX|1|FT|||a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f\\.br\\g\\.sp2\\h\\H\\i\\N\\j\r",
          "DOC9=a|b^c&d~e\\f\ng\n\nhij;");
    gives(HEADER "\r" DOCUMENT "OBX|1|FT|||\\X4142c3a9\\ C:\\new\\dir 5\\ end\\", "DOC9=ABé C:\\new\\dir 5\\ end\\;");
    refuses(HEADER "\r" DOCUMENT "OBX|1|FT|||\\X414\\", "odd number");
    refuses(HEADER "\r" DOCUMENT "OBX|1|FT|||MARKER\\X00\\", "no byte of text");
}

static void other_separators_are_those_of_the_header(void **state) {
    (void)state;
    gives("MSH$%*!#$A$B$C$D$2026$$MDM%T04$CTRL1$P$2.3\rTXA$1$$$$$$$$$$$D1%B\rOBX$1$TX$$$a!S!b*|^c\r", "D1=a%b\n|^c;");
    refuses("MSH||~\\&|A", "five different");
    refuses("MSHabcde|A", "five different");
    refuses("MSH|^~", "cut short");
}

static void a_name_comes_from_document_visit_or_message(void **state) {
    (void)state;
    gives(HEADER "\rPV1|1|I|||||||||||||||||V7^^^B\rTXA|1\rOBX|1|TX|||x\r", "V7=x;");
    gives(HEADER "\rTXA|1\rOBX|1|TX|||x\r", "CTRL1=x;");
    gives("MSH|^~\\&|A|B|C|D|2026||MDM^T02\rTXA|1\rOBX|1|TX|||x\r", "1=x;");
}

static void files_hold_many_messages_in_frames_or_without(void **state) {
    (void)state;
    gives("\v" HEADER "\r" DOCUMENT "OBX|1|TX|||a\r\x1c\r\v" HEADER "\r" DOCUMENT "OBX|1|TX|||b\r\x1c\r",
          "DOC9=a;DOC9=b;");
    gives("FHS|^~\\&\rBHS|^~\\&\r" HEADER "\nTXA|1\nOBX|1|TX|||a\n" HEADER
          "\r\nTXA|1\r\nOBX|1|TX|||b\r\nBTS|2\rFTS|1\r",
          "CTRL1=a;CTRL1=b;");
    gives(HEADER "\rTXA|1\rOBX|1|TX|||a line\nand one\r", "CTRL1=a line\nand one;");
}

static void character_sets_become_utf8(void **state) {
    (void)state;
    gives(HEADER "||||||8859/1\r" DOCUMENT "OBX|1|TX|||caf\xe9 \\XE9\\\r", "DOC9=café é;");
    gives(HEADER "||||||GB 18030-2000\r" DOCUMENT "OBX|1|TX|||\x81\x7c\r", "DOC9=亅;");
    refuses(HEADER "\r" DOCUMENT "OBX|1|TX|||MARKER caf\xe9\r", "not UTF-8");
    refuses(HEADER "||||||UNICODE UTF-16\r" DOCUMENT "OBX|1|TX|||x\r", "MSH-18");
}

static void encapsulated_text_is_read_and_other_documents_are_not(void **state) {
    (void)state;
    gives(HEADER "\r" DOCUMENT "OBX|1|ED|||A^TEXT^PLAIN^Base64^aGVsbG8gd29ybGQ=\rOBX|2|ED|||A^AP^PDF^Base64^JVBERi0=\r",
          "DOC9=hello world;");
    refuses(HEADER "\r" DOCUMENT "OBX|2|ED|||A^AP^PDF^Base64^JVBERi0=\r", "no OBX segment");
    refuses(HEADER "\r" DOCUMENT "OBX|1|ED|||A^TEXT^^Base64^MARKER!\r", "base64");
}

static void what_is_no_document_is_refused(void **state) {
    (void)state;
    refuses("hello", "does not begin with an MSH");
    refuses("MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5\rPID|1||MARKER\r", "MSH-9");
    refuses(HEADER "\rOBX|1|TX|||MARKER\r", "no TXA");
    refuses(HEADER "\r" DOCUMENT "OBX|1|TX|||a\r" HEADER "\r" DOCUMENT, "message 2");
    assert_false(read_bytes(HEADER "\r\0", sizeof HEADER + 1));
    assert_non_null(strstr(error.message, "NUL"));
    assert_false(read_bytes("", 0));
}

/* Every beginning of a message and every byte changed: no read out of bounds, whatever comes of it. */
static void damaged_messages_do_no_harm(void **state) {
    (void)state;
    char message[] =
        "\v" HEADER "||||||8859/1\r" DOCUMENT "OBX|1|FT|||\\X41\\ \\.sp3\\ a~b\rOBX|2|ED|||A^TEXT^^Base64^aGk=\r\x1c\r";
    for (size_t length = 0; length < sizeof message; length++) read_bytes(message, length);
    for (size_t i = 0; i < sizeof message - 1; i++) {
        const char kept = message[i];
        for (const char *other = "|^\\\r\n~A\xff"; *other != '\0'; other++) {
            message[i] = *other;
            read_bytes(message, sizeof message - 1);
        }
        message[i] = kept;
    }
}

static void base64_is_read_strictly(void **state) {
    static const char *const wrong[] = {"A", "AB=C", "AAAA=", "AA=", "AAA==", "A?AA", "AA==A"};
    (void)state;
    struct text out = {0};
    assert_true(base64_decode(&out, "aGVs\r\nbG8=", 10));
    assert_string_equal(out.data, "hello");
    text_clear(&out);
    assert_true(base64_decode(&out, "aGVsbA", 6));
    assert_string_equal(out.data, "hell");
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(base64_decode(&out, wrong[i], strlen(wrong[i])));
    text_free(&out);
}

static void predict_codes_a_message_as_it_codes_its_text(void **state) {
    (void)state;
    struct printed message = {0}, text = {0};
    const char *path = folder_write_text("note.txt", "Brief Hospital Course:\nElective right total knee arthroplasty, "
                                                     "no complication.");
    command_succeeds(&text, "predict --csv --top-k 1 %s", path);
    path = folder_write_text("note.hl7",
                             HEADER "\r" DOCUMENT "OBX|1|FT|||Brief Hospital Course:\\.br\\Elective right total "
                                    "knee arthroplasty, no complication.\r");
    command_succeeds(&message, "predict --csv --top-k 1 --hl7 %s", path);
    assert_string_equal(strstr(message.out.data, ",1,"), strstr(text.out.data, ",1,"));
    command_succeeds(&message, "predict --json --hl7 %s", path);
    assert_non_null(strstr(message.out.data, "{\"id\": \"DOC9\""));
    command_refuses("does not begin with an MSH", "predict --hl7 %s", folder_path("note.txt"));
    printed_free(&message);
    printed_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_behind_txa_are_the_note),
        cmocka_unit_test(escapes_are_resolved_and_what_is_none_stays),
        cmocka_unit_test(other_separators_are_those_of_the_header),
        cmocka_unit_test(a_name_comes_from_document_visit_or_message),
        cmocka_unit_test(files_hold_many_messages_in_frames_or_without),
        cmocka_unit_test(character_sets_become_utf8),
        cmocka_unit_test(encapsulated_text_is_read_and_other_documents_are_not),
        cmocka_unit_test(what_is_no_document_is_refused),
        cmocka_unit_test(damaged_messages_do_no_harm),
        cmocka_unit_test(base64_is_read_strictly),
        cmocka_unit_test(predict_codes_a_message_as_it_codes_its_text),
    };
    const int failed = cmocka_run_group_tests(tests, folder_make, folder_remove);
    text_free(&taken);
    return failed;
}
