/* The answers that exist: all DRG titles of a grouper as token sequences in one tree, so that a model can be kept from
 * answering with a DRG that there is not, and so that every title's probability can be computed with shared prefixes.
 *
 * An answer stands as in DRG-Sapphire (arXiv 2505.21908): "<answer>\nTITLE\n</answer>". Titles are cut into tokens as
 * the tokenizer cuts them there, so line feeds that join with their neighbours to one token are in the tree as such. */
#ifndef CASEMIX_GENERATE_TITLE_TRIE_H
#define CASEMIX_GENERATE_TITLE_TRIE_H

#include "drg/catalog.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct tokenizer;

enum { OPENING_LENGTH = 8 }; /* bytes of "<answer>" */

struct trie_node {
    int32_t first_child; /* children are consecutive, by rising token */
    int32_t children;
    int32_t token; /* by which it is reached; -1 for the root */
    int32_t parent;
    int32_t drg; /* index into catalog->drgs when the answer is complete here; else -1 */
};

struct title_trie {
    const struct catalog *catalog;
    struct trie_node *nodes; /* [count] node 0 is the root; parents stand before their children */
    int32_t *child_tokens;   /* [count] token of each node: those of a node's children are consecutive */
    size_t count;
    int32_t line_feed;                  /* the token "\n" */
    int32_t *permitted[OPENING_LENGTH]; /* by bytes of "<answer>" matched: tokens that may follow; NULL: all */
    size_t permitted_counts[OPENING_LENGTH];
    size_t longest; /* tokens of the longest answer, closing tag included */
};

/* The tree of a grouper's titles with "\n</answer>" behind each. Release with title_trie_close. */
bool title_trie_open(struct title_trie *trie, const struct tokenizer *tokenizer, enum grouper grouper,
                     struct error *error);
void title_trie_close(struct title_trie *trie);

/* The child by this token; -1 if no title goes on so. */
int32_t title_trie_step(const struct title_trie *trie, int32_t node, int32_t token);

/* Where a sequence stands: outside of an answer, behind "<answer>" and before its line feed, at a node of the tree, or
 * behind the answer. */
enum { TRIE_OUTSIDE = -1, TRIE_LINE_FEED = -2, TRIE_DONE = -3 };
struct trie_state {
    int32_t node;    /* >= 0: of the tree */
    int32_t matched; /* outside: bytes of "<answer>" that the text ends with */
};
extern const struct trie_state trie_start;

/* Where a text leaves one that goes on behind it: only its end counts, for a prompt may speak of answers before. */
struct trie_state trie_state_behind(const char *text, size_t length);

/* The tokens that may follow in this state: NULL when all may, else `*count` tokens, rising. Outside of an answer only
 * tokens that would close "<answer>" and run on into something that is no title are kept out. */
const int32_t *trie_allowed(const struct title_trie *trie, const struct trie_state *state, size_t *count);

/* The state after an allowed token, whose bytes are given. */
struct trie_state trie_advance(const struct title_trie *trie, struct trie_state state, int32_t token, const char *bytes,
                               size_t length);

#endif
