/* CSV as RFC 4180 has it, and TSV tables. */
#include "base/csv.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "folder.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void quotes_commas_and_line_feeds_inside_fields_are_kept(void **state) {
    (void)state;
    struct csv_reader *reader;
    struct error error = {0};
    bool more;
    size_t length;
    int text;
    const char *path =
        folder_write_text("q.csv", "id,text\r\n1,\"a \"\"quoted\"\" word, comma\nand line\"\n2,  blanks stay \n3,\n");
    assert_true(csv_open(&reader, path, &error));
    assert_true(csv_require(reader, "text", &text, &error));
    assert_true(csv_next(reader, &more, &error) && more);
    assert_string_equal(csv_field(reader, text, &length), "a \"quoted\" word, comma\nand line");
    assert_int_equal(csv_line(reader), 2);
    assert_true(csv_next(reader, &more, &error) && more);
    assert_string_equal(csv_field(reader, text, &length), "  blanks stay ");
    assert_int_equal(csv_line(reader), 4);
    assert_true(csv_next(reader, &more, &error) && more);
    assert_string_equal(csv_field(reader, text, &length), "");
    assert_true(csv_next(reader, &more, &error) && !more);
    csv_close(reader);
}

static void what_is_written_reads_back(void **state) {
    (void)state;
    static const char *const fields[] = {
        "plain", "with, comma", "with \"quote\"", "line\nfeed", "cr\rreturn", "", " lead", "\"", "é漢"};
    struct text out = {0};
    struct csv_reader *reader;
    struct error error = {0};
    bool more;
    text_add(&out, "field,number\n");
    for (int round = 0; round < 3000; round++) {
        text_add_csv(&out, fields[round % 9], strlen(fields[round % 9]));
        text_printf(&out, ",%d\n", round);
    }
    assert_true(file_write(folder_path("w.csv.gz"), out.data, out.length, &error));
    assert_true(csv_open(&reader, folder_path("w.csv.gz"), &error));
    for (int round = 0; round < 3000; round++) {
        assert_true(csv_next(reader, &more, &error) && more);
        assert_string_equal(csv_field(reader, 0, NULL), fields[round % 9]);
    }
    assert_true(csv_next(reader, &more, &error) && !more);
    csv_close(reader);
    text_free(&out);
}

/* Reads a whole file; its error. */
static void read_and_fail(const char *content, const char *part) {
    struct csv_reader *reader = NULL;
    struct error error = {0};
    bool more = true, done = csv_open(&reader, folder_write_text("bad.csv", content), &error);
    const bool opened = done;
    while (done && more) done = csv_next(reader, &more, &error);
    if (opened) csv_close(reader);
    if (done) fail_msg("%s was taken", content);
    if (strstr(error.message, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", error.message, part);
}

static void faults_name_the_line_on_which_the_record_began(void **state) {
    (void)state;
    read_and_fail("", "empty");
    read_and_fail("id,text\n1,fine\n2,\"never closed\nmore\nand more\n", "line 3");
    read_and_fail("id,text\n1,fine\n2\n", "line 3");
    read_and_fail("id,text\n1,fine\n2,a,b\n", "3 fields, the header has 2");
    read_and_fail("id,text\n1,\"a\"b\"\n", "quote");
    struct csv_reader *reader;
    struct error error = {0};
    int column;
    assert_true(csv_open(&reader, folder_write_text("c.csv", "id,body\n1,x\n"), &error));
    assert_false(csv_require(reader, "text", &column, &error));
    assert_non_null(strstr(error.message, "id, body"));
    csv_close(reader);
}

static void csv_survives_every_failing_allocation(void **state) {
    (void)state;
    const char *path = folder_write_text("a.csv", "id,text\n1,\"one\"\n2,two\n");
    bool done = false;
    for (int64_t allowed = 0; allowed < 1000 && !done; allowed++) {
        struct csv_reader *reader;
        struct error error = {0};
        bool more = true;
        memory_fail_after(allowed);
        const bool opened = csv_open(&reader, path, &error);
        done = opened;
        while (done && more) done = csv_next(reader, &more, &error);
        memory_fail_after(-1);
        if (opened) csv_close(reader);
    }
    assert_true(done);
}

static void tables_are_cut_and_checked(void **state) {
    (void)state;
    struct tsv table;
    struct error error = {0};
    static const char good[] = "# comment\na\tb\n1\t2\n\n3\t\n";
    size_t column;
    assert_true(tsv_parse(&table, "t", good, strlen(good), &error));
    assert_int_equal(table.rows, 2);
    assert_int_equal(table.lines[1], 5);
    assert_true(tsv_require(&table, "t", "b", &column, &error));
    assert_string_equal(tsv_cell(&table, 0, column), "2");
    assert_string_equal(tsv_cell(&table, 1, column), "");
    assert_false(tsv_require(&table, "t", "c", &column, &error));
    tsv_free(&table);
    assert_false(tsv_parse(&table, "t", "a\tb\n1\n", 6, &error));
    assert_non_null(strstr(error.message, "line 2"));
    assert_false(tsv_parse(&table, "t", "", 0, &error));
    assert_false(tsv_parse(&table, "t", "a\xff\n", 3, &error));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotes_commas_and_line_feeds_inside_fields_are_kept),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(faults_name_the_line_on_which_the_record_began),
        cmocka_unit_test(csv_survives_every_failing_allocation),
        cmocka_unit_test(tables_are_cut_and_checked),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
