/* JSON as one document and as lines: every node of an accepted tree can be visited and is found by its name. */
#include "base/error.h"
#include "base/json.h"
#include "input.h"
#include <stdlib.h>
#include <string.h>

static void visit(const json_node *node) {
    const char *string = json_string(node);
    int64_t integer;
    if (string != NULL) input_touch(string, strlen(string));
    json_integer(node, &integer);
    for (const json_node *child = json_first(node); child != NULL; child = json_next(child)) {
        if (json_is_object(node) && json_member(node, json_name(child)) != child) abort();
        visit(child);
    }
}

static bool visit_line(void *context, uint64_t line, const json_node *root, struct error *error) {
    uint64_t *last = context;
    (void)error;
    if (line <= *last) abort();
    *last = line;
    visit(root);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct json *document;
    struct error error;
    uint64_t line = 0;
    if (json_parse(&document, "input", (const char *)bytes, length, &error)) {
        visit(json_root(document));
        json_free(document);
    }
    json_lines(input_file(bytes, length), visit_line, &line, &error);
    return 0;
}
