/* One pass over the lines of a note; each line is held against a short table of headings. */
#include "drg/sections.h"
#include "base/error.h"
#include "base/memory.h"
#include <ctype.h>
#include <string.h>

/* Of sections that say little about the DRG. */
enum { LAST_RANK = 7 };

/* The headings of MIMIC-IV's discharge summaries in their order, and other hospitals' words for the same. The first
 * name is the one that users give. Those of the page's head end a section but cannot be asked for. */
static const struct {
    const char *names[9];
    bool page_head;
    int rank; /* note_section */
} headings[] = {
    {{"chief complaint", "reason for admission"}, false, 3},
    {{"major surgical or invasive procedure", "procedures", "procedures performed", "operations"}, false, 1},
    {{"history of present illness", "hpi", "present illness"}, false, 4},
    {{"past medical history", "pmh", "medical history"}, false, 5},
    {{"social history"}, false, LAST_RANK},
    {{"family history"}, false, LAST_RANK},
    {{"physical exam", "physical examination", "admission physical exam", "exam on admission"}, false, LAST_RANK},
    {{"pertinent results", "results", "laboratory data", "labs on admission", "admission labs"}, false, 6},
    {{"hospital course", "brief hospital course", "summary of hospital course", "hospital course by problem",
      "hospital course by system", "hospital course by issue", "brief hospital course by problem",
      "course in hospital"},
     false,
     2},
    {{"medications on admission", "admission medications", "home medications", "on admission", "meds on admission"},
     false,
     LAST_RANK},
    {{"discharge medications", "medications on discharge", "discharge meds"}, false, LAST_RANK},
    {{"discharge disposition", "disposition"}, false, LAST_RANK},
    {{"discharge diagnosis", "discharge diagnoses", "final diagnosis", "final diagnoses", "primary diagnosis"},
     false,
     0},
    {{"discharge condition", "condition on discharge", "condition at discharge"}, false, LAST_RANK},
    {{"discharge instructions", "patient instructions"}, false, LAST_RANK},
    {{"followup instructions", "follow-up instructions", "follow up instructions", "followup", "follow-up"},
     false,
     LAST_RANK},
    {{"allergies"}, false, LAST_RANK},
    {{"service"}, false, LAST_RANK},
    {{"name", "unit no", "admission date", "date of birth", "sex", "attending", "facility", "discharge date"},
     true,
     LAST_RANK},
};
enum { HEADINGS = sizeof headings / sizeof *headings, NAMES = sizeof headings[0].names / sizeof *headings[0].names };

static char fold(char byte) {
    return byte == '-' || byte == '_' || byte == '\t' ? ' ' : (char)tolower((unsigned char)byte);
}

/* Bytes of `text` that spell `name`; 0 if it does not begin with it. */
static size_t spells(const char *text, size_t length, const char *name) {
    size_t at = 0;
    for (; *name != '\0'; name++) {
        if (at == length || fold(text[at]) != fold(*name)) return 0;
        at++;
        while (*name == ' ' && at < length && fold(text[at]) == ' ') at++;
    }
    return at;
}

bool section_set_parse(section_set *set, const char *names, struct error *error) {
    *set = 0;
    for (const char *from = names; *from != '\0';) {
        const char *comma = strchrnul(from, ',');
        while (*from == ' ') from++;
        section_set found = 0;
        for (unsigned i = 0; i < HEADINGS; i++) {
            for (unsigned n = 0; !headings[i].page_head && n < NAMES && headings[i].names[n] != NULL; n++) {
                const size_t length = (size_t)(comma - from);
                if (length > 0 && spells(from, length, headings[i].names[n]) == length) found |= (section_set)1 << i;
            }
        }
        if (found == 0) {
            struct text known = {0};
            for (unsigned i = 0; i < HEADINGS; i++) {
                if (!headings[i].page_head) text_printf(&known, "%s%s", i == 0 ? "" : ", ", headings[i].names[0]);
            }
            error_usage(error, "no section \"%.*s\" is known", (int)(comma - from), from);
            error_hint(error, "known: %s", known.data == NULL ? "" : known.data);
            text_free(&known);
            return false;
        }
        *set |= found;
        from = *comma == ',' ? comma + 1 : comma;
    }
    return *set != 0 || error_usage(error, "no section is named");
}

/* The heading that the line is, as an index; -1 if it is none. */
static int heading_of(const char *line, size_t length) {
    size_t from = 0;
    while (from < length && strchr(" \t#*=_", line[from]) != NULL) from++;
    if (from == length || !isalpha((unsigned char)line[from])) return -1;
    for (int i = 0; i < HEADINGS; i++) {
        for (int n = 0; n < NAMES && headings[i].names[n] != NULL; n++) {
            size_t end = spells(line + from, length - from, headings[i].names[n]);
            if (end == 0) continue;
            end += from;
            while (end < length && strchr(" \t*=_\r", line[end]) != NULL) end++;
            if (end == length || line[end] == ':') return i;
        }
    }
    return -1;
}

static void append_section(struct text *out, const char *section, size_t length) {
    while (length > 0 && isspace((unsigned char)section[length - 1])) length--;
    if (length == 0) return;
    if (out->length > 0) text_add(out, "\n\n");
    text_append(out, section, length);
}

size_t sections_copy(struct text *out, const char *note, size_t length, section_set wanted) {
    size_t count = 0, start = 0;
    bool inside = false;
    for (size_t at = 0; at < length;) {
        const char *line_end = memchr(note + at, '\n', length - at);
        const size_t next = line_end == NULL ? length : (size_t)(line_end - note) + 1;
        const int heading = heading_of(note + at, (line_end == NULL ? length : next - 1) - at);
        if (heading >= 0) {
            if (inside) append_section(out, note + start, at - start);
            inside = (wanted >> heading & 1) != 0;
            count += inside;
            start = at;
        }
        at = next;
    }
    if (inside) append_section(out, note + start, length - start);
    return count;
}

static bool add_section(struct note_section **sections, size_t *count, size_t *capacity, struct note_section section,
                        struct error *error) {
    if (section.start == section.end) return true;
    if (!memory_grow(sections, capacity, *count + 1, sizeof **sections, error)) return false;
    (*sections)[(*count)++] = section;
    return true;
}

bool sections_find(struct note_section **sections, size_t *count, const char *note, size_t length,
                   struct error *error) {
    struct note_section section = {.rank = LAST_RANK};
    size_t capacity = 0;
    *sections = NULL;
    *count = 0;
    for (size_t at = 0; at < length;) {
        const char *line_end = memchr(note + at, '\n', length - at);
        const size_t next = line_end == NULL ? length : (size_t)(line_end - note) + 1;
        const int heading = heading_of(note + at, (line_end == NULL ? length : next - 1) - at);
        if (heading >= 0) {
            section.end = at;
            if (!add_section(sections, count, &capacity, section, error)) return false;
            section = (struct note_section){.start = at, .rank = headings[heading].rank};
        }
        at = next;
    }
    section.end = length;
    return add_section(sections, count, &capacity, section, error);
}
