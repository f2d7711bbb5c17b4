/* Harmonisation: the DRG of a grouper version from a description in the wording of another one.
 *
 * Years of claims carry the titles of their own grouper version, abbreviated, cut short and renamed, and numbers were
 * used again for other DRGs; so the wording decides, never the number. Two ways: casemix's own rules and aliases
 * (data/title-words.tsv, data/title-aliases.tsv), or a published table applied as DRG-LLaMA's code does
 * (arXiv:2309.12625, MIMIC_Preprocessing.py). */
#ifndef CASEMIX_DRG_HARMONISE_H
#define CASEMIX_DRG_HARMONISE_H

#include "drg/catalog.h"
#include <stdbool.h>
#include <stddef.h>

struct error;
struct text;
struct title_map; /* immutable once open: any thread may search it */

/* casemix's own harmonisation for a grouper: normalisation rules and the alias table built into the program. */
bool title_map_open(struct title_map **map, enum grouper grouper, struct error *error);

/* A published mapping instead, always to v34: CSV with the columns raw_description and DRG_34_description (targets that
 * pandas reads as missing, such as "NaN" or nothing, are deliberately unmapped; of a repeated wording the last row
 * counts), applied as the official code does: the transformed description if it is a v34 title, else the target. */
bool title_map_open_published(struct title_map **map, const char *path, struct error *error);

/* The DRG code of a raw description; 0 when it has none. *reason (may be NULL) is a string that lives as long as the
 * map: for 0 why ("empty", "retired: …", "ambiguous: …", "unknown wording", "not in the published mapping", …), else
 * NULL or a remark on a DRG whose content changed. */
int title_map_find(const struct title_map *map, const char *description, size_t length, const char **reason);

/* The description as the official code transforms it before it looks it up (DRG-LLaMA's map_drg), appended to out. */
void title_normalise_published(struct text *out, const char *description, size_t length);

void title_map_close(struct title_map *map); /* NULL is fine */

#endif
