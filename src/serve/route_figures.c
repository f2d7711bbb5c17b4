/* What the reviews and ratings add up to: agreement between raters, agreement with the model, drift of confidence. */
#include "base/error.h"
#include "base/log.h"
#include "drg/catalog.h"
#include "drg/mdc.h"
#include "serve/kappa.h"
#include "serve/request.h"
#include "serve/routes.h"
#include "serve/server.h"
#include "serve/store.h"
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

enum { RATERS = 64, MDCS = 32, DECILES = 10, ENOUGH = 50 };

/* The Monday of a time, UTC. */
#define WEEK(time) "date(" time ", 'weekday 0', '-6 days')"

typedef bool figures_function(struct text *out, sqlite3 *database, struct error *error);

static bool answer_figures(struct request *request, figures_function *function) {
    struct error error = {0};
    struct text body = {0};
    sqlite3 *database = store_read(request->server->store);
    const bool done = function(&body, database, &error) && text_ok(&body, &error);
    store_read_end(request->server->store);
    if (done) {
        request_answer_json(request, 200, &body);
        return true;
    }
    text_free(&body);
    log_warning("%s", error.message);
    request_refuse_line(request, 500, "internal", "the server's log says why", "the store cannot be read");
    return true;
}

/* Two scales: helpfulness and accuracy. */
static const char *const scales[] = {"helpfulness", "accuracy"};

/* The ratings of all raters, pair by pair. */
struct agreement {
    char raters[RATERS][65];
    size_t rater_count;
    int64_t ratings, answers;
    int64_t counts[2][KAPPA_LEVELS];
    int64_t pairs[2][RATERS][RATERS][KAPPA_LEVELS][KAPPA_LEVELS]; /* first rater before the second in the list */
};

static size_t rater_index(struct agreement *all, const char *name) {
    size_t i = 0;
    while (i < all->rater_count && strcmp(all->raters[i], name) != 0) i++;
    if (i == all->rater_count && i < RATERS) snprintf(all->raters[all->rater_count++], 65, "%s", name);
    return i;
}

/* Ratings of one answer, one a rater. */
struct answer_ratings {
    size_t raters[RATERS];
    int levels[RATERS][2];
    size_t count;
};

static void add_answer(struct agreement *all, const struct answer_ratings *answer) {
    for (size_t a = 0; a < answer->count; a++) {
        for (size_t b = 0; b < answer->count; b++) {
            if (answer->raters[a] >= answer->raters[b]) continue;
            for (int s = 0; s < 2; s++)
                all->pairs[s][answer->raters[a]][answer->raters[b]][answer->levels[a][s] - 1]
                          [answer->levels[b][s] - 1]++;
        }
    }
    all->answers += answer->count > 0;
}

static bool gather_ratings(struct agreement *all, sqlite3 *database, struct error *error) {
    sqlite3_stmt *statement;
    struct answer_ratings answer = {0};
    int64_t prediction = 0;
    bool row = true, done;
    if (!statement_open(&statement, database,
                        "SELECT prediction, rater, helpfulness, accuracy FROM ratings WHERE rating IN"
                        " (SELECT max(rating) FROM ratings GROUP BY prediction, rater) ORDER BY prediction, rater",
                        error))
        return false;
    while ((done = statement_next(statement, &row, error)) && row) {
        if (sqlite3_column_int64(statement, 0) != prediction) {
            add_answer(all, &answer);
            answer.count = 0;
            prediction = sqlite3_column_int64(statement, 0);
        }
        const size_t rater = rater_index(all, statement_column(statement, 1));
        all->ratings++;
        for (int s = 0; s < 2; s++) all->counts[s][sqlite3_column_int(statement, 2 + s) - 1]++;
        if (rater >= RATERS) continue; /* counted, but not paired */
        answer.raters[answer.count] = rater;
        for (int s = 0; s < 2; s++) answer.levels[answer.count][s] = sqlite3_column_int(statement, 2 + s);
        answer.count++;
    }
    add_answer(all, &answer);
    statement_close(statement);
    return done;
}

static void add_scale(struct text *out, const int64_t counts[KAPPA_LEVELS]) {
    double count = 0, sum = 0, squares = 0;
    for (int i = 0; i < KAPPA_LEVELS; i++) {
        count += (double)counts[i];
        sum += (i + 1) * (double)counts[i];
        squares += (i + 1) * (i + 1) * (double)counts[i];
    }
    const double mean = count > 0 ? sum / count : (double)NAN;
    text_add(out, "{\"mean\": ");
    text_add_json_double(out, mean);
    text_add(out, ", \"deviation\": ");
    text_add_json_double(out, count > 1 ? sqrt(fmax(0, squares - count * mean * mean) / (count - 1)) : (double)NAN);
    text_printf(out, ", \"counts\": [%lld, %lld, %lld, %lld, %lld]}", (long long)counts[0], (long long)counts[1],
                (long long)counts[2], (long long)counts[3], (long long)counts[4]);
}

static void add_pair(struct text *out, const struct agreement *all, int scale, size_t a, size_t b, bool *first) {
    const int64_t(*pairs)[KAPPA_LEVELS] = all->pairs[scale][a][b];
    int64_t shared = 0, exact = 0;
    for (int i = 0; i < KAPPA_LEVELS; i++) {
        exact += pairs[i][i];
        for (int j = 0; j < KAPPA_LEVELS; j++) shared += pairs[i][j];
    }
    if (shared == 0) return;
    text_add(out, *first ? "{\"raters\": [" : ", {\"raters\": [");
    *first = false;
    text_add_json(out, all->raters[a], strlen(all->raters[a]));
    text_add(out, ", ");
    text_add_json(out, all->raters[b], strlen(all->raters[b]));
    text_printf(out, "], \"shared\": %lld, \"kappa_linear\": ", (long long)shared);
    text_add_json_double(out, weighted_kappa(pairs, KAPPA_LINEAR));
    text_add(out, ", \"kappa_quadratic\": ");
    text_add_json_double(out, weighted_kappa(pairs, KAPPA_QUADRATIC));
    text_printf(out, ", \"exact\": %.6f}", (double)exact / (double)shared);
}

static void add_agreement(struct text *out, const struct agreement *all) {
    text_printf(out, "{\"ratings\": %lld, \"answers\": %lld, \"raters\": [", (long long)all->ratings,
                (long long)all->answers);
    for (size_t i = 0; i < all->rater_count; i++) {
        if (i > 0) text_add(out, ", ");
        text_add_json(out, all->raters[i], strlen(all->raters[i]));
    }
    text_add_char(out, ']');
    for (int s = 0; s < 2; s++) {
        text_printf(out, ", \"%s\": ", scales[s]);
        add_scale(out, all->counts[s]);
    }
    for (int s = 0; s < 2; s++) {
        bool first = true;
        text_printf(out, "%s\"%s\": [", s == 0 ? ", \"pairs\": {" : ", ", scales[s]);
        for (size_t a = 0; a < all->rater_count; a++) {
            for (size_t b = a + 1; b < all->rater_count; b++) add_pair(out, all, s, a, b, &first);
        }
        text_add_char(out, ']');
    }
    text_add(out, "}}\n");
}

static bool write_agreement(struct text *out, sqlite3 *database, struct error *error) {
    static struct agreement all; /* guarded as the connection is */
    memset(&all, 0, sizeof all);
    if (!gather_ratings(&all, database, error)) return false;
    add_agreement(out, &all);
    return true;
}

bool handle_rating_agreement(struct request *request) {
    return answer_figures(request, write_agreement);
}

/* Predictions with a decision: the last one counts. */
#define DECIDED                                                                                                 \
    "WITH last AS (SELECT max(review) AS review FROM reviews WHERE decision <> 'comment' GROUP BY prediction) " \
    "SELECT p.grouper, p.drg, r.drg, p.p, " WEEK(                                                               \
        "r.time") " FROM last JOIN reviews r ON r.review = last.review"                                         \
                  " JOIN predictions p ON p.prediction = r.prediction ORDER BY 5"

struct tally {
    char name[16]; /* an MDC, or a week */
    int64_t reviewed, agreed;
    double p;
};

static void add_tally(struct tally *tally, bool agreed, double p) {
    tally->reviewed++;
    tally->agreed += agreed;
    tally->p += p;
}

static void print_mdc(struct text *out, const struct tally *mdc) {
    text_printf(out,
                "{\"mdc\": \"%s\", \"mdc_name\": \"%s\", \"reviewed\": %lld, \"agreed\": %lld, \"agreement\": %.6f}",
                mdc->name, mdc_name(mdc->name), (long long)mdc->reviewed, (long long)mdc->agreed,
                (double)mdc->agreed / (double)mdc->reviewed);
}

static void print_week(struct text *out, const struct tally *week) {
    text_printf(out, "{\"date\": \"%s\", \"reviewed\": %lld, \"agreed\": %lld, \"agreement\": %.6f, \"mean_p\": %.6f}",
                week->name, (long long)week->reviewed, (long long)week->agreed,
                (double)week->agreed / (double)week->reviewed, week->p / (double)week->reviewed);
}

/* The reviewed predictions, by MDC of the predicted DRG and by week; weeks go straight to `weeks`. */
struct reviewed {
    struct tally all, mdcs[MDCS], week;
    size_t mdc_count;
    struct text weeks;
};

static void end_week(struct reviewed *reviewed) {
    if (reviewed->week.reviewed == 0) return;
    if (reviewed->weeks.length > 0) text_add(&reviewed->weeks, ", ");
    print_week(&reviewed->weeks, &reviewed->week);
    reviewed->week = (struct tally){0};
}

static void add_decision(struct reviewed *reviewed, const struct drg *predicted, bool agreed, double p,
                         const char *week) {
    size_t m = 0;
    const char *mdc = predicted == NULL ? "-" : predicted->mdc;
    while (m < reviewed->mdc_count && strcmp(reviewed->mdcs[m].name, mdc) != 0) m++;
    if (m == reviewed->mdc_count && m < MDCS)
        snprintf(reviewed->mdcs[reviewed->mdc_count++].name, sizeof reviewed->mdcs[m].name, "%s", mdc);
    if (m < MDCS) add_tally(&reviewed->mdcs[m], agreed, p);
    if (strcmp(reviewed->week.name, week) != 0) end_week(reviewed);
    snprintf(reviewed->week.name, sizeof reviewed->week.name, "%s", week);
    add_tally(&reviewed->week, agreed, p);
    add_tally(&reviewed->all, agreed, p);
}

static bool gather_decisions(struct reviewed *reviewed, sqlite3 *database, struct error *error) {
    sqlite3_stmt *statement;
    bool row = true, done;
    if (!statement_open(&statement, database, DECIDED, error)) return false;
    while ((done = statement_next(statement, &row, error)) && row) {
        enum grouper grouper = GROUPER_V43;
        struct error ignored;
        grouper_parse(statement_column(statement, 0), &grouper, &ignored);
        const int predicted = sqlite3_column_int(statement, 1), decided = sqlite3_column_int(statement, 2);
        add_decision(reviewed, catalog_find(catalog_get(grouper), predicted), predicted == decided,
                     sqlite3_column_double(statement, 3), statement_column(statement, 4));
    }
    end_week(reviewed);
    statement_close(statement);
    return done;
}

/* A week's predictions by tenths of their p. */
struct confidence {
    char week[16];
    int64_t deciles[DECILES], count;
    double p;
};

/* Population stability index; half an item in every tenth keeps the logarithms finite. */
static double stability(const struct confidence *now, const struct confidence *before) {
    double sum = 0;
    for (int i = 0; i < DECILES; i++) {
        const double a = ((double)now->deciles[i] + 0.5) / ((double)now->count + 0.5 * DECILES),
                     b = ((double)before->deciles[i] + 0.5) / ((double)before->count + 0.5 * DECILES);
        sum += (a - b) * log(a / b);
    }
    return sum;
}

static void print_confidence(struct text *out, const struct confidence *week, const struct confidence *first) {
    if (week->count == 0) return;
    text_printf(out, "%s{\"date\": \"%s\", \"predictions\": %lld, \"mean_p\": %.6f, \"deciles\": [",
                out->data[out->length - 1] == '[' ? "" : ", ", week->week, (long long)week->count,
                week->p / (double)week->count);
    for (int i = 0; i < DECILES; i++) text_printf(out, "%s%lld", i == 0 ? "" : ", ", (long long)week->deciles[i]);
    text_add(out, "], \"stability\": ");
    text_add_json_double(out, first->count > 0 ? stability(week, first) : (double)NAN);
    text_add_char(out, '}');
}

/* A note that was sent again, to see its evidence for instance, counts once: with its last answer. */
static bool add_confidence(struct text *out, sqlite3 *database, int64_t *predictions, struct error *error) {
    sqlite3_stmt *statement;
    struct confidence week = {0}, first = {0};
    bool row = true, done;
    text_add(out, "\"confidence\": [");
    if (!statement_open(&statement, database,
                        "SELECT " WEEK("time") ", min(9, CAST(p * 10 AS INTEGER)), count(*), sum(p)"
                                               " FROM predictions WHERE prediction IN (SELECT max(prediction) FROM"
                                               " predictions GROUP BY note_sha256, model) GROUP BY 1, 2 ORDER BY 1, 2",
                        error))
        return false;
    while ((done = statement_next(statement, &row, error)) && row) {
        const char *date = statement_column(statement, 0);
        if (strcmp(week.week, date) != 0) {
            print_confidence(out, &week, &first);
            if (first.count == 0 && week.count >= ENOUGH) first = week;
            week = (struct confidence){0};
            snprintf(week.week, sizeof week.week, "%s", date);
        }
        const int decile = sqlite3_column_int(statement, 1);
        week.deciles[decile < 0 ? 0 : decile] += sqlite3_column_int64(statement, 2);
        week.count += sqlite3_column_int64(statement, 2);
        week.p += sqlite3_column_double(statement, 3);
        *predictions += sqlite3_column_int64(statement, 2);
    }
    print_confidence(out, &week, &first);
    text_add_char(out, ']');
    statement_close(statement);
    return done;
}

static bool write_dashboard(struct text *out, sqlite3 *database, struct error *error) {
    struct reviewed reviewed = {0};
    struct text confidence = {0};
    int64_t predictions = 0;
    const bool done = gather_decisions(&reviewed, database, error) &&
                      add_confidence(&confidence, database, &predictions, error) && text_ok(&confidence, error) &&
                      text_ok(&reviewed.weeks, error);
    const struct tally *all = &reviewed.all;
    text_printf(out,
                "{\"predictions\": %lld, \"reviewed\": %lld, \"agreed\": %lld, \"agreement\": ", (long long)predictions,
                (long long)all->reviewed, (long long)all->agreed);
    text_add_json_double(out, all->reviewed > 0 ? (double)all->agreed / (double)all->reviewed : (double)NAN);
    text_add(out, ", \"by_mdc\": [");
    for (size_t i = 0; i < reviewed.mdc_count; i++) {
        if (i > 0) text_add(out, ", ");
        print_mdc(out, &reviewed.mdcs[i]);
    }
    text_printf(out, "], \"by_week\": [%s], %s}\n", reviewed.weeks.data == NULL ? "" : reviewed.weeks.data,
                confidence.data == NULL ? "" : confidence.data);
    text_free(&reviewed.weeks);
    text_free(&confidence);
    return done;
}

bool handle_dashboard(struct request *request) {
    return answer_figures(request, write_dashboard);
}
