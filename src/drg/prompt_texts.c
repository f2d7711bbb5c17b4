/* The prompts that are compiled in: see prompt_texts.h. */
#include "drg/prompt_texts.h"
#include "base/include_bytes.h"

INCLUDE_BYTES(casemix_prompt_answer, "data/prompts/answer.txt")
INCLUDE_BYTES(casemix_prompt_answer_differential, "data/prompts/answer-differential.txt")
INCLUDE_BYTES(casemix_prompt_answer_short, "data/prompts/answer-short.txt")
INCLUDE_BYTES(casemix_prompt_rationale, "data/prompts/rationale.txt")
INCLUDE_BYTES(casemix_prompt_rationale_differential, "data/prompts/rationale-differential.txt")
INCLUDE_BYTES(casemix_prompt_knowledge, "data/prompts/knowledge.txt")

const struct prompt_file *prompt_file_at(size_t i) {
    static const struct prompt_file files[] = {
        {"answer", casemix_prompt_answer, casemix_prompt_answer_end},
        {"answer-differential", casemix_prompt_answer_differential, casemix_prompt_answer_differential_end},
        {"answer-short", casemix_prompt_answer_short, casemix_prompt_answer_short_end},
        {"rationale", casemix_prompt_rationale, casemix_prompt_rationale_end},
        {"rationale-differential", casemix_prompt_rationale_differential, casemix_prompt_rationale_differential_end},
        {"knowledge", casemix_prompt_knowledge, casemix_prompt_knowledge_end},
    };
    return i < sizeof files / sizeof files[0] ? &files[i] : NULL;
}
