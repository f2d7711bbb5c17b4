/* Processor features through the compiler's own CPUID reading, which asks the operating system's support too. */
#include "tensor/processor.h"
#include <dnnl.h>
#include <stdio.h>
#include <string.h>

static enum instructions upper_limit = INSTRUCTIONS_VNNI;

/* What oneDNN multiplies with, which ONEDNN_MAX_CPU_ISA may hold below what there is: products of few rows and of many
 * then round alike. */
static enum instructions library_limit(void) {
    const unsigned isa = (unsigned)dnnl_get_effective_cpu_isa();
    static const unsigned sets[] = {dnnl_cpu_isa_avx2, dnnl_cpu_isa_avx512_core, dnnl_cpu_isa_avx512_core_vnni};
    int found = INSTRUCTIONS_PLAIN;
    while (found < INSTRUCTIONS_VNNI && (isa & sets[found]) == sets[found]) found++;
    return (enum instructions)found;
}

static enum instructions detect(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const int avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (avx2 && avx512) return __builtin_cpu_supports("avx512vnni") ? INSTRUCTIONS_VNNI : INSTRUCTIONS_AVX512;
    if (avx2) return INSTRUCTIONS_AVX2;
#endif
    return INSTRUCTIONS_PLAIN;
}

enum instructions processor_instructions(void) {
    /* The same from whichever thread asks first. */
    static _Atomic int known = -1;
    if (known < 0) {
        const enum instructions found = detect(), limit = library_limit();
        known = (int)(found < limit ? found : limit);
    }
    const enum instructions found = (enum instructions)known;
    return found < upper_limit ? found : upper_limit;
}

void processor_limit(enum instructions limit) {
    upper_limit = limit;
}

const char *processor_name(void) {
    static char name[128];
    if (name[0] != '\0') return name;
    strcpy(name, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (file == NULL) return name;
    char line[512];
    while (fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || colon == NULL || colon[1] == '\0') continue;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    fclose(file);
    return name;
}
