/* Running the program: output and errors go to files of the test's folder. */
#include "command.h"
#include "base/file.h"
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

static void run(struct printed *printed, const char *arguments) {
    char command[8192];
    struct error *none = NULL;
    const char *build = getenv("B");
    text_clear(&printed->out);
    text_clear(&printed->errors);
    snprintf(command, sizeof command, "</dev/null >%s 2>%s %s/casemix %s", folder_path("printed.out"),
             folder_path("printed.err"), build == NULL ? "build" : build, arguments);
    const int status = system(command);
    printed->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    assert_true(file_read(&printed->out, folder_path("printed.out"), 0, none));
    assert_true(file_read(&printed->errors, folder_path("printed.err"), 0, none));
    /* Empty output still reads as a string. */
    text_add(&printed->out, "");
    text_add(&printed->errors, "");
}

void command_run(struct printed *printed, const char *format, ...) {
    char arguments[4096];
    va_list list;
    va_start(list, format);
    vsnprintf(arguments, sizeof arguments, format, list);
    va_end(list);
    run(printed, arguments);
}

void command_succeeds(struct printed *printed, const char *format, ...) {
    char arguments[4096];
    va_list list;
    va_start(list, format);
    vsnprintf(arguments, sizeof arguments, format, list);
    va_end(list);
    run(printed, arguments);
    if (printed->status != 0) fail_msg("casemix %s: %s", arguments, printed->errors.data);
}

void printed_free(struct printed *printed) {
    text_free(&printed->out);
    text_free(&printed->errors);
}

void command_refuses(const char *part, const char *format, ...) {
    char arguments[4096];
    struct printed printed = {0};
    va_list list;
    va_start(list, format);
    vsnprintf(arguments, sizeof arguments, format, list);
    va_end(list);
    run(&printed, arguments);
    /* On a busy machine lines of progress may stand before. */
    const char *found = strstr(printed.errors.data, "casemix: "), *errors = found == NULL ? printed.errors.data : found,
               *end = printed.errors.data + printed.errors.length, *line = strchr(errors, '\n');
    const bool one_line = found != NULL && (found == printed.errors.data || found[-1] == '\n') && line != NULL &&
                          (line[1] == '\0' || (line[1] == ' ' && strchr(line + 1, '\n') == end - 1));
    if (printed.status != 1 || !one_line || strstr(errors, part) == NULL)
        fail_msg("casemix %s: status %d, \"%s\" does not say \"%s\" on one line", arguments, printed.status, errors,
                 part);
    printed_free(&printed);
}
