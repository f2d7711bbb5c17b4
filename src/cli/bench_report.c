/* Lines of `casemix bench`. */
#include "cli/bench_report.h"
#include <stdio.h>

void bench_begin(struct bench *bench, const char *key, const char *heading) {
    bench->first = true;
    if (bench->json)
        text_printf(&bench->out, ", \"%s\": [", key);
    else
        text_printf(&bench->out, "\n%s\n", heading);
}

void bench_end(struct bench *bench) {
    if (bench->json) text_add(&bench->out, "]");
}

static void open_member(struct bench *bench, const char *name) {
    text_printf(&bench->out, "%s{\"name\": \"%s\"", bench->first ? "" : ", ", name);
    bench->first = false;
}

void bench_rate(struct bench *bench, const char *name, double operations, double seconds) {
    const double rate = operations / seconds;
    if (bench->json) {
        open_member(bench, name);
        text_printf(&bench->out, ", \"gflops\": %.1f, \"share\": %.3f}", rate / 1e9, rate / bench->f32);
    } else {
        text_printf(&bench->out, "  %-44s %8.1f GFLOP/s  %5.1f %%\n", name, rate / 1e9, 100 * rate / bench->f32);
    }
}

void bench_value(struct bench *bench, const char *name, double value, const char *unit) {
    if (bench->json) {
        open_member(bench, name);
        text_printf(&bench->out, ", \"value\": %.2f, \"unit\": \"%s\"}", value, unit);
    } else {
        text_printf(&bench->out, "  %-44s %8.*f %s\n", name, value < 100 ? 2 : 0, value, unit);
    }
}

void bench_tokens(struct bench *bench, const char *name, double tokens, double operations, double bytes,
                  double seconds) {
    const double rate = bytes > 0 ? bytes / seconds : operations / seconds,
                 share = rate / (bytes > 0 ? bench->read : bench->f32);
    const char *unit = bytes > 0 ? "GB/s" : "GFLOP/s";
    if (bench->json) {
        open_member(bench, name);
        text_printf(&bench->out, ", \"tokens_per_second\": %.1f, \"rate\": %.1f, \"unit\": \"%s\", \"share\": %.3f}",
                    tokens / seconds, rate / 1e9, unit, share);
    } else {
        text_printf(&bench->out, "  %-32s %8.1f tokens/s %8.1f %-7s %5.1f %%\n", name, tokens / seconds, rate / 1e9,
                    unit, 100 * share);
    }
}

void bench_flush(struct bench *bench) {
    if (bench->out.data != NULL) fputs(bench->out.data, stdout);
    fflush(stdout);
    text_clear(&bench->out);
}
