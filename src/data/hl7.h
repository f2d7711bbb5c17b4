/* HL7 version 2 messages that carry a document: MDM^T02 and its relatives with content (T04, T06, T08, T10).
 *
 * A file holds one message or many, bare or in MLLP frames, with segments that end in CR, LF or both. Of each message
 * the text of its OBX segments behind TXA is a note: OBX-5 of types TX, FT and ST, repetitions as lines, and of type ED
 * what is plain text (as it stands or in base64). Escapes are resolved; MSH-18 says the character set.
 * Source: HL7 2.5.1, chapters 2 (encoding) and 9 (documents). */
#ifndef CASEMIX_DATA_HL7_H
#define CASEMIX_DATA_HL7_H

#include <stdbool.h>
#include <stddef.h>

struct error;

/* Given each note in the order of the file: its name (the document's number, TXA-12; else the visit's, PV1-19; else the
 * message's, MSH-10) and its text, both in UTF-8 and valid until it returns. */
typedef bool hl7_note_function(void *context, const char *id, const char *text, size_t length, struct error *error);

/* All messages of a file's bytes. `name` says which file in errors, which name the message's number, segment and field,
 * and never repeat what stands in them. Stops at the first error. */
bool hl7_read(const char *name, const char *bytes, size_t length, hl7_note_function *take, void *context,
              struct error *error);

#endif
