/* What `make install` and `make deb` lay down: a tree that works wherever it stands, a manual page for every command,
 * and completion that offers what the program takes. */
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "command.h"
#include "folder.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char root[1024], out[1024];
static struct text read;

/* Runs a line of shell from the top of the checkout with $B, $ROOT and $OUT set; its status. */
__attribute__((format(printf, 1, 2))) static int shell(const char *format, ...) {
    char line[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    return system(line);
}

static bool have(const char *program) {
    return shell("command -v %s >/dev/null 2>&1", program) == 0;
}

/* What a line of shell prints. */
static const char *prints(const char *line) {
    text_clear(&read);
    if (shell("{ %s ; } >%s/printed 2>&1", line, out) != 0) fail_msg("%s", line);
    assert_true(file_read(&read, folder_path("out/printed"), 0, NULL));
    return read.data == NULL ? "" : read.data;
}

static int set_up(void **state) {
    folder_make(state);
    snprintf(root, sizeof root, "%s", folder_path("root"));
    snprintf(out, sizeof out, "%s", folder_path("out"));
    setenv("ROOT", root, 1);
    setenv("OUT", out, 1);
    setenv("SOURCE_DATE_EPOCH", "1767225600", 1);
    if (getenv("B") == NULL) setenv("B", "build", 1);
    return shell(
        "mkdir -p $OUT/build && ln -s \"$(realpath $B)/casemix\" \"$(realpath $B)/libcasemix.a\" $OUT/build && "
        "sh scripts/manual.sh $B/casemix $OUT/build/manual && "
        "DESTDIR=$ROOT PREFIX=/usr PACKAGES=zlib sh scripts/install.sh $OUT/build");
}

static int tear_down(void **state) {
    text_free(&read);
    return folder_remove(state);
}

static void the_installed_program_finds_its_model_anywhere(void **state) {
    (void)state;
    const char *answer = prints("cd / && $ROOT/usr/bin/casemix predict --csv --top-k 1 "
                                "$ROOT/usr/share/doc/casemix/examples/notes/2-knee-replacement.txt");
    assert_non_null(strstr(answer, ",470,"));
    answer = prints("cd / && $ROOT/usr/bin/casemix predict --model tiny-classifier --csv --top-k 1 "
                    "$ROOT/usr/share/doc/casemix/examples/notes/2-knee-replacement.txt");
    assert_non_null(strstr(answer, ",470,"));
    prints("cd / && $ROOT/usr/bin/casemix synth --stays 3 --seed 1 --out $OUT/cohort");
}

static void every_command_has_its_page_and_its_words_are_those_of_help(void **state) {
    (void)state;
    prints("$ROOT/usr/bin/casemix --help | sed -n 's/^  \\([a-z]*\\) .*/\\1/p' | grep -v '^casemix$' >$OUT/names && "
           "test $(wc -l <$OUT/names) -ge 15 && while read -r name; do "
           "zcat $ROOT/usr/share/man/man1/casemix-$name.1.gz >$OUT/page && grep -q '^.SH SYNOPSIS' $OUT/page && "
           "for option in $($ROOT/usr/bin/casemix $name --help | grep -o '^  --[a-z0-9-]*'); do "
           "grep -qF -- \"$(printf %s \"$option\" | sed 's/-/\\\\-/g')\" $OUT/page || { echo $name $option; exit 1; }; "
           "done || exit 1; "
           "done <$OUT/names");
    assert_non_null(strstr(prints("zcat $ROOT/usr/share/man/man1/casemix.1.gz"), "casemix\\-predict"));
    if (!have("mandoc"))
        print_message("skipped: mandoc is not here to look the pages over\n");
    else
        assert_string_equal(prints("mandoc -T lint -W warning $OUT/build/manual/man1/*.1"), "");
}

/* Each option is tried: with a value, else as a flag; --help behind it keeps the command from doing anything. */
static void completion_offers_what_commands_take(void **state) {
    (void)state;
    const char *offered = prints(
        "bash -c '. $ROOT/usr/share/bash-completion/completions/casemix; "
        "ask() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _casemix; echo \"${COMPREPLY[*]}\"; }; "
        "ask casemix pre; ask casemix drg sh; ask casemix predict --top-k; ask casemix predict --compute b; "
        "ask casemix predict --model tiny; ask casemix serve --por'");
    assert_string_equal(offered, "predict prepare\nshow\n--top-k\nbf16\ntiny-classifier\n--port\n");
    prints("bash -c '. $ROOT/usr/share/bash-completion/completions/casemix; while read -r name; do "
           "COMP_WORDS=(casemix $name --); COMP_CWORD=2; _casemix; test ${#COMPREPLY[@]} -ge 1 || exit 1; "
           "for option in ${COMPREPLY[@]}; do "
           "case $name in drg|metrics|audit|key|predict|eval) continue;; esac; "
           "$ROOT/usr/bin/casemix $name $option=x --help 2>&1 | grep -q \"unknown option\" || continue; "
           "$ROOT/usr/bin/casemix $name $option --help 2>&1 | grep \"unknown option\" && exit 1; done; done "
           "<$OUT/names; exit 0'");
    if (have("zsh")) prints("zsh -n $ROOT/usr/share/zsh/vendor-completions/_casemix");
    if (have("fish"))
        assert_non_null(strstr(prints("fish -c 'source $ROOT/usr/share/fish/vendor_completions.d/casemix.fish; "
                                      "complete -C \"casemix predict --top\"'"),
                               "--top-k"));
}

static void the_unit_is_one_that_systemd_reads(void **state) {
    (void)state;
    const char *unit = prints("cat $ROOT/usr/lib/systemd/system/casemix.service");
    assert_non_null(strstr(unit, "ExecStart=/usr/bin/casemix serve --store /var/lib/casemix/casemix.sqlite"));
    assert_null(strchr(unit, '@') == NULL ? NULL : strstr(unit, "@PREFIX@"));
    if (!have("systemd-analyze")) {
        print_message("skipped: systemd-analyze is not here\n");
        return;
    }
    /* The program stands elsewhere, which is all that may be wrong. */
    prints("systemd-analyze verify $ROOT/usr/lib/systemd/system/casemix.service 2>&1 | grep -i casemix.service | "
           "grep -v 'not executable\\|Failed to\\|man ' >$OUT/verify; test ! -s $OUT/verify || { cat $OUT/verify; exit "
           "1; }");
}

static void uninstall_leaves_nothing(void **state) {
    (void)state;
    const char *left = prints("DESTDIR=$OUT/other PREFIX=/opt/c PACKAGES=zlib sh scripts/install.sh $OUT/build && "
                              "test -x $OUT/other/opt/c/bin/casemix && "
                              "DESTDIR=$OUT/other PREFIX=/opt/c sh scripts/install.sh --remove && "
                              "find $OUT/other -type f");
    assert_string_equal(left, "");
}

static void the_debian_package_holds_a_program_that_runs(void **state) {
    (void)state;
    if (!have("dpkg-deb") || !have("dpkg-shlibdeps")) {
        print_message("skipped: dpkg-dev is not here to make a package\n");
        skip();
    }
    prints("COMPRESSION=none sh scripts/deb.sh $OUT/build $OUT/deb && mkdir $OUT/x && dpkg -x $OUT/deb/casemix_*.deb "
           "$OUT/x");
    assert_non_null(strstr(prints("cd / && $OUT/x/usr/bin/casemix predict --csv --top-k 1 "
                                  "$OUT/x/usr/share/doc/casemix/examples/notes/2-knee-replacement.txt"),
                           ",470,"));
    assert_non_null(strstr(prints("dpkg-deb -f $OUT/deb/casemix_*.deb Depends"), "libdnnl"));
    assert_non_null(strstr(prints("dpkg-deb -c $OUT/deb/libcasemix-dev_*.deb"), "/usr/include/casemix.h"));
    prints("cd $OUT/x && dpkg-deb --ctrl-tarfile $OUT/deb/casemix_*.deb | tar xf - ./md5sums -O | md5sum -c --quiet");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_installed_program_finds_its_model_anywhere),
        cmocka_unit_test(every_command_has_its_page_and_its_words_are_those_of_help),
        cmocka_unit_test(completion_offers_what_commands_take),
        cmocka_unit_test(the_unit_is_one_that_systemd_reads),
        cmocka_unit_test(uninstall_leaves_nothing),
        cmocka_unit_test(the_debian_package_holds_a_program_that_runs),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
