/* The ground: errors, memory, text, numbers, hashes, files and JSON, good input and hostile. */
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/text.h"
#include "folder.h"
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

static void errors_carry_context_on_one_line(void **state) {
    (void)state;
    struct error error = {0};
    assert_false(error_set(&error, "file %s", "a\nb"));
    assert_string_equal(error.message, "file a?b");
    assert_false(error_context(&error, "reading %d", 3));
    assert_string_equal(error.message, "reading 3: file a?b");
    char longer[3000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    error_set(&error, "%s", longer);
    error_context(&error, "%s", longer);
    assert_true(strlen(error.message) < sizeof error.message);
    assert_false(error_set(NULL, "nothing happens"));
}

static void sizes_that_overflow_give_no_memory(void **state) {
    (void)state;
    assert_null(memory_alloc(SIZE_MAX / 2, 3));
    assert_null(memory_alloc(SIZE_MAX, 1));
    struct arena arena = {0};
    assert_null(arena_alloc(&arena, SIZE_MAX / 8, 16));
    assert_null(arena_alloc(&arena, SIZE_MAX / 2, 1));
    char *string = arena_string(&arena, "abc", 3);
    void *aligned = arena_alloc(&arena, 3, 5);
    assert_string_equal(string, "abc");
    assert_int_equal((uintptr_t)aligned % 64, 0);
    assert_non_null(arena_alloc(&arena, 5 << 20, 1)); /* larger than a block */
    assert_non_null(arena_string(&arena, "after", 5));
    arena_free(&arena);
}

static void utf8_is_checked_strictly(void **state) {
    (void)state;
    static const char *const bad[] = {"\xff", "\xc0\xaf",     "\xe0\x80\x80",        "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                      "\xc3", "abcdefgh\x80", "\xf8\x88\x80\x80\x80"};
    size_t at;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_false(utf8_valid(bad[i], strlen(bad[i]), &at));
    assert_int_equal(at, 0);
    assert_true(utf8_valid("Grüße, 漢字 🙂 plain ascii follows",
                           strlen("Grüße, 漢字 🙂 plain ascii follows"), NULL));
    struct text repaired = {0};
    utf8_repair(&repaired,
                "a\xff"
                "b",
                3);
    assert_string_equal(repaired.data, "a\xef\xbf\xbd"
                                       "b");
    text_free(&repaired);
    assert_int_equal(utf8_columns("漢a", 4), 3);
}

static void json_strings_are_escaped_and_read_back(void **state) {
    (void)state;
    struct text out = {0};
    struct error error = {0};
    struct json *document;
    static const char tricky[] = "q\" b\\ n\n t\t \x01 é 🙂";
    text_add_json(&out, tricky, strlen(tricky));
    assert_true(json_parse(&document, "t", out.data, out.length, &error));
    assert_string_equal(json_string(json_root(document)), tricky);
    json_free(document);
    text_free(&out);
}

static void numbers_read_back_to_the_same_bits(void **state) {
    (void)state;
    struct rng rng;
    rng_seed(&rng, 3);
    for (int i = 0; i < 2000; i++) {
        const double value = rng_normal(&rng) * pow(10, (double)rng_below(&rng, 60) - 30);
        const float narrow = (float)value;
        struct text a = {0}, b = {0};
        text_add_json_double(&a, value);
        text_add_json_float(&b, narrow);
        const double back = strtod(a.data, NULL);
        const float back_narrow = strtof(b.data, NULL);
        assert_memory_equal(&back, &value, sizeof value);
        assert_memory_equal(&back_narrow, &narrow, sizeof narrow);
        text_free(&a);
        text_free(&b);
    }
    struct text nan = {0};
    text_add_json_double(&nan, (double)NAN);
    assert_string_equal(nan.data, "null");
    text_free(&nan);
}

static void number_parsing_takes_the_whole_string(void **state) {
    (void)state;
    int64_t whole;
    double real;
    assert_true(parse_int64("-12", &whole) && whole == -12);
    assert_false(parse_int64("12x", &whole) || parse_int64("", &whole) || parse_int64(" 1", &whole) ||
                 parse_int64("99999999999999999999", &whole));
    assert_true(parse_double("1e-3", &real));
    assert_false(parse_double("1,5", &real) || parse_double("nan", &real) || parse_double("", &real) ||
                 parse_double(" 1", &real));
}

static void refuse_json(const char *json, const char *part) {
    struct json *document = NULL;
    struct error error = {0};
    if (json_parse(&document, "test.json", json, strlen(json), &error)) fail_msg("%s was taken", json);
    if (strstr(error.message, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", error.message, part);
}

static void hostile_json_is_refused(void **state) {
    (void)state;
    refuse_json("", "empty");
    refuse_json("{", "not valid");
    refuse_json("{} x", "behind");
    refuse_json("{\"a\":1,\"a\":2}", "twice");
    refuse_json("\"\xff\"", "UTF-8");
    refuse_json("\"a\\u0000b\"", "NUL");
    char deep[2 * 600 + 1];
    memset(deep, '[', 600);
    memset(deep + 600, ']', 600);
    deep[1200] = '\0';
    refuse_json(deep, "nested");
    struct text large = {0};
    text_add_char(&large, '{');
    for (int i = 0; i < 100; i++) text_printf(&large, "\"k%d\":%d,", i, i);
    text_add(&large, "\"k50\":1}");
    refuse_json(large.data, "twice");
    text_free(&large);
}

static void members_of_large_objects_are_found(void **state) {
    (void)state;
    struct text large = {0};
    struct json *document;
    struct error error = {0};
    text_add_char(&large, '{');
    for (int i = 0; i < 5000; i++) text_printf(&large, "%s\"key%d\":%d", i == 0 ? "" : ",", i, i);
    text_add_char(&large, '}');
    assert_true(json_parse(&document, "large", large.data, large.length, &error));
    for (int i = 0; i < 5000; i += 7) {
        char name[16];
        int64_t value = -1;
        snprintf(name, sizeof name, "key%d", i);
        assert_true(json_integer(json_member(json_root(document), name), &value) && value == i);
    }
    assert_null(json_member(json_root(document), "absent"));
    json_free(document);
    text_free(&large);
}

static void json_survives_every_failing_allocation(void **state) {
    (void)state;
    struct text large = {0};
    text_add_char(&large, '{');
    for (int i = 0; i < 40; i++) text_printf(&large, "%s\"key%d\":[%d,\"x\"]", i == 0 ? "" : ",", i, i);
    text_add_char(&large, '}');
    bool parsed = false;
    for (int64_t allowed = 0; allowed < 10000 && !parsed; allowed++) {
        struct json *document;
        struct error error = {0};
        memory_fail_after(allowed);
        parsed = json_parse(&document, "t", large.data, large.length, &error);
        memory_fail_after(-1);
        if (parsed) json_free(document);
    }
    assert_true(parsed);
    text_free(&large);
}

static void hashes_find_what_was_put_in(void **state) {
    (void)state;
    static char keys[3000][12];
    struct hash map = {0};
    struct error error = {0};
    for (int i = 0; i < 3000; i++) {
        bool existing;
        snprintf(keys[i], sizeof keys[i], "k%d", i * i);
        assert_true(hash_insert(&map, keys[i], strlen(keys[i]), i, &existing, &error));
        assert_false(existing);
    }
    for (int i = 0; i < 3000; i++) assert_int_equal(hash_find(&map, keys[i], strlen(keys[i]), -1), i);
    assert_int_equal(hash_find(&map, "nothing", 7, -5), -5);
    hash_free(&map);
}

static void sha256_agrees_with_the_standard(void **state) {
    (void)state;
    char hex[65];
    sha256_hex("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256_hex("", 0, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void random_numbers_are_seeded_and_even(void **state) {
    (void)state;
    struct rng a, b;
    double sum = 0, squares = 0;
    int counts[7] = {0};
    rng_seed(&a, 42);
    rng_seed(&b, 42);
    for (int i = 0; i < 1000; i++) assert_true(rng_next(&a) == rng_next(&b));
    for (int i = 0; i < 70000; i++) counts[rng_below(&a, 7)]++;
    for (int i = 0; i < 7; i++) assert_in_range(counts[i], 9500, 10500);
    for (int i = 0; i < 100000; i++) {
        const double x = rng_normal(&a);
        sum += x;
        squares += x * x;
    }
    assert_true(fabs(sum / 1e5) < 0.02 && fabs(squares / 1e5 - 1) < 0.03);
    rng_seed_stream(&a, 1, 2, 3);
    rng_seed_stream(&b, 1, 2, 4);
    assert_true(rng_next(&a) != rng_next(&b));
}

static void a_directory_is_not_read_as_a_file(void **state) {
    (void)state;
    struct error error = {0};
    struct file_map map;
    struct text text = {0};
    assert_int_equal(mkdir(folder_path("directory"), 0755), 0);
    assert_false(file_map_open(&map, folder_path("directory"), &error));
    assert_non_null(strstr(error.message, "is a directory"));
    assert_false(file_read(&text, folder_path("directory"), 0, &error));
    assert_false(file_write(folder_path("directory"), "x", 1, &error));
    assert_false(file_read(&text, folder_path("absent"), 0, &error));
    text_free(&text);
}

static void gzip_is_read_and_a_cut_stream_is_an_error(void **state) {
    (void)state;
    struct text long_text = {0}, back = {0};
    struct error error = {0};
    for (int i = 0; i < 50000; i++) text_printf(&long_text, "line %d of a note\n", i);
    assert_true(file_write(folder_path("a.gz"), long_text.data, long_text.length, &error));
    assert_true(file_write(folder_path("b.gz"), long_text.data, long_text.length, &error));
    assert_true(files_equal(folder_path("a.gz"), folder_path("b.gz")));
    assert_true(file_read(&back, folder_path("a.gz"), 0, &error));
    assert_int_equal(back.length, long_text.length);
    assert_memory_equal(back.data, long_text.data, back.length);
    struct file_map map;
    assert_true(file_map_open(&map, folder_path("a.gz"), &error));
    folder_write("cut.gz", map.data, map.size / 2);
    file_map_close(&map);
    text_clear(&back);
    assert_false(file_read(&back, folder_path("cut.gz"), 0, &error));
    assert_non_null(strstr(error.message, "cut short"));
    text_clear(&back);
    assert_false(file_read(&back, folder_path("a.gz"), 1000, &error));
    assert_non_null(strstr(error.message, "more than 1000 bytes"));
    text_free(&long_text);
    text_free(&back);
}

/* A limit on the size of files stands in for a full disk: writes fail in the middle. */
static void gzip_members_behind_one_another_are_one_file(void **state) {
    (void)state;
    static const char *const parts[] = {"first\n", "", "third, after nothing\n"};
    struct text whole = {0}, plain = {0}, back = {0};
    struct error error = {0};
    struct file_writer *writer;
    for (size_t i = 0; i < 3; i++) {
        assert_true(gzip_member(&whole, parts[i], strlen(parts[i]), &error));
        text_add(&plain, parts[i]);
    }
    assert_true(file_writer_open_plain(&writer, folder_path("members.gz"), &error));
    assert_true(file_writer_write(writer, whole.data, whole.length, &error));
    assert_true(file_writer_commit(writer, &error));
    file_writer_close(writer);
    assert_true(file_read(&back, folder_path("members.gz"), 0, &error));
    assert_string_equal(back.data, plain.data);
    /* The last member cut short is not the end of the file. */
    folder_write("cut.gz", whole.data, whole.length - 9);
    text_clear(&back);
    assert_false(file_read(&back, folder_path("cut.gz"), 0, &error));
    assert_non_null(strstr(error.message, "cut short"));
    text_free(&whole);
    text_free(&plain);
    text_free(&back);
}

static void a_full_disk_leaves_the_old_file(void **state) {
    (void)state;
    struct rlimit old, small;
    struct error error = {0};
    static char large[1 << 20];
    struct text back = {0};
    folder_write_text("kept.txt", "the old content");
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 4096;
    setrlimit(RLIMIT_FSIZE, &small);
    const bool written = file_write(folder_path("kept.txt"), large, sizeof large, &error);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_false(written);
    assert_non_null(strstr(error.message, "kept.txt"));
    assert_true(file_read(&back, folder_path("kept.txt"), 0, &error));
    assert_string_equal(back.data, "the old content");
    char partial[1100];
    snprintf(partial, sizeof partial, "%s.partial-%ld", folder_path("kept.txt"), (long)getpid());
    assert_false(path_exists(partial));
    text_free(&back);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_carry_context_on_one_line),
        cmocka_unit_test(sizes_that_overflow_give_no_memory),
        cmocka_unit_test(utf8_is_checked_strictly),
        cmocka_unit_test(json_strings_are_escaped_and_read_back),
        cmocka_unit_test(numbers_read_back_to_the_same_bits),
        cmocka_unit_test(number_parsing_takes_the_whole_string),
        cmocka_unit_test(hostile_json_is_refused),
        cmocka_unit_test(members_of_large_objects_are_found),
        cmocka_unit_test(json_survives_every_failing_allocation),
        cmocka_unit_test(hashes_find_what_was_put_in),
        cmocka_unit_test(sha256_agrees_with_the_standard),
        cmocka_unit_test(random_numbers_are_seeded_and_even),
        cmocka_unit_test(a_directory_is_not_read_as_a_file),
        cmocka_unit_test(gzip_is_read_and_a_cut_stream_is_an_error),
        cmocka_unit_test(gzip_members_behind_one_another_are_one_file),
        cmocka_unit_test(a_full_disk_leaves_the_old_file),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
