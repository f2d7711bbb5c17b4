# The page of `make scaling` from its two tables: accuracy against log2 of the stays fine-tuned on, with fitted lines for
# fine-tuning and GRPO, what the paper claims beside what came out, and the tables. Variables: ablation (its size), stays
# (scored). The first file is scaling.tsv, the second ablation.tsv.
BEGIN { FS = "\t"; METRIC[1] = "Pass@1"; METRIC[2] = "Pass@8"; METRIC[3] = "Maj@8" }

FNR == 1 { file++; next }

file == 1 {
    n++
    method[n] = $1; size[n] = $2; x[n] = log($2) / log(2)
    for (m = 1; m <= 3; m++) y[n, m] = $(3 + m)
    if (least == "" || x[n] < least) least = x[n]
    if (x[n] > most) most = x[n]
    if (!(size[n] in place)) { place[size[n]] = ++different; sizes[different] = size[n] }
    for (m = 1; m <= 3; m++) sum[$1, $2, m] += $(3 + m)
    count[$1, $2]++
    row[n] = $0
}

file == 2 { ablations++; ablation_row[ablations] = $0 }

# Least squares of metric m of a method over x: slope, intercept, r2.
function fit(name, m,    i, k, sx, sy, sxx, sxy, syy, across) {
    for (i = 1; i <= n; i++) {
        if (method[i] != name) continue
        k++; sx += x[i]; sy += y[i, m]; sxx += x[i] ^ 2; sxy += x[i] * y[i, m]; syy += y[i, m] ^ 2
    }
    across = k * sxx - sx ^ 2
    if (k < 2 || across < 1e-9) return 0
    slope[name, m] = (k * sxy - sx * sy) / across
    intercept[name, m] = (sy - slope[name, m] * sx) / k
    r2[name, m] = k * syy - sy ^ 2 < 1e-9 ? 0 : (k * sxy - sx * sy) ^ 2 / (across * (k * syy - sy ^ 2))
    return 1
}

function mean(name, of, m) { return sum[name, of, m] / count[name, of] }

# Over the sizes that both methods have: how much GRPO changes metric m, least and most, and at the smallest and largest.
function change(m,    i, d, s) {
    low = high = ""; lowest_size = highest_size = 0
    for (i = 1; i <= different; i++) {
        s = sizes[i] + 0
        if (!count["sft", s] || !count["grpo", s]) continue
        d = mean("grpo", s, m) - mean("sft", s, m)
        if (low == "" || d < low) low = d
        if (high == "" || d > high) high = d
        if (!lowest_size || s < lowest_size) { lowest_size = s; at_lowest = d }
        if (s > highest_size) { highest_size = s; at_highest = d }
    }
    return low != ""
}

function verdict(claim, holds, figures) {
    printf "<li>%s %s: %s</li>\n", claim, holds ? "Holds here" : "Does not hold here", figures
}

function across(value) { return 70 + 620 * (value - least) / (most - least) }
function up(value) { return 330 - 300 * value / top }

function plot(m,    i, k, name, color, from, to, tick) {
    top = 10
    for (i = 1; i <= n; i++) while (y[i, m] > top) top += 10
    printf "<section><h2>%s of the DRG</h2>\n<svg viewBox=\"0 0 720 380\" role=\"img\" aria-label=\"%s\">\n", METRIC[m], METRIC[m]
    for (tick = 0; tick <= top; tick += top > 50 ? 20 : 10)
        printf "<line class=\"grid\" x1=\"70\" x2=\"690\" y1=\"%.1f\" y2=\"%.1f\"/><text x=\"62\" y=\"%.1f\" class=\"end\">%d %%</text>\n", \
            up(tick), up(tick), up(tick) + 4, tick
    for (i = 1; i <= different; i++)
        printf "<text x=\"%.1f\" y=\"350\" class=\"middle\">%d</text>\n", across(log(sizes[i]) / log(2)), sizes[i]
    print "<text x=\"380\" y=\"372\" class=\"middle\">stays fine-tuned on (log scale)</text>"
    for (k = 1; k <= 2; k++) {
        name = k == 1 ? "sft" : "grpo"
        if (fit(name, m)) {
            from = intercept[name, m] + slope[name, m] * least; to = intercept[name, m] + slope[name, m] * most
            printf "<line class=\"fit %s\" x1=\"70\" x2=\"690\" y1=\"%.1f\" y2=\"%.1f\"/>\n", name, up(from), up(to)
        }
        for (i = 1; i <= n; i++)
            if (method[i] == name)
                printf "<circle class=\"%s\" r=\"4\" cx=\"%.1f\" cy=\"%.1f\"><title>%s, %d stays: %.2f %%</title></circle>\n", \
                    name, across(x[i]), up(y[i, m]), name, size[i], y[i, m]
    }
    print "<circle class=\"sft\" r=\"4\" cx=\"90\" cy=\"20\"/><text x=\"100\" y=\"24\">SFT</text>"
    print "<circle class=\"grpo\" r=\"4\" cx=\"150\" cy=\"20\"/><text x=\"160\" y=\"24\">SFT, then GRPO</text>\n</svg>"
    for (k = 1; k <= 2; k++) {
        name = k == 1 ? "sft" : "grpo"
        if ((name, m) in slope)
            printf "<p>%s: %.2f + %.2f log<sub>2</sub> stays, R² %.3f</p>\n", toupper(name), intercept[name, m], slope[name, m], r2[name, m]
    }
    print "</section>"
}

function table(head, rows, total,    i, j, fields, parts) {
    fields = split(head, parts, "\t")
    printf "<table><tr>"
    for (j = 1; j <= fields; j++) printf "<th>%s</th>", parts[j]
    print "</tr>"
    for (i = 1; i <= total; i++) {
        fields = split(rows[i], parts, "\t")
        printf "<tr>"
        for (j = 1; j <= fields; j++) printf "<td>%s</td>", parts[j]
        print "</tr>"
    }
    print "</table>"
}

END {
    if (most - least < 1e-9) most = least + 1
    print "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"
    print "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    print "<title>Scaling on synthetic stays</title><style>"
    print ":root{--paper:#fff;--ground:#f4f5f7;--ink:#1c2430;--soft:#5d6877;--line:#dfe3e8;--one:#2563a8;--two:#c2571a;color-scheme:light dark}"
    print "@media(prefers-color-scheme:dark){:root{--paper:#1a1f27;--ground:#12161c;--ink:#e4e8ee;--soft:#98a3b3;--line:#303844;--one:#6ea8e6;--two:#eb9657}}"
    print "body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif}main{max-width:860px;margin:0 auto;padding:28px 20px 60px}"
    print "section{background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:18px 20px;margin-top:18px;overflow-x:auto}"
    print "p{color:var(--soft);margin:0 0 8px}h1{font-size:26px;margin:0}h2{font-size:18px;margin:0 0 8px}svg{width:100%;height:auto;font-size:13px;fill:var(--ink)}"
    print "table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}th,td{text-align:right;padding:4px 8px;border-bottom:1px solid var(--line)}th:first-child,td:first-child{text-align:left}th{color:var(--soft)}"
    print ".grid{stroke:var(--line)}.fit{stroke-width:2}.end{text-anchor:end}.middle{text-anchor:middle}circle.sft{fill:var(--one)}circle.grpo{fill:var(--two)}.fit.sft{stroke:var(--one)}.fit.grpo{stroke:var(--two)}"
    print "</style><main><h1>Scaling on synthetic stays</h1>"
    printf "<p>DRG-Sapphire's experiment in small: a tiny model, notes written by casemix synth, %d unseen stays, eight answers each. Nothing here speaks of real notes.</p>\n", stays
    for (m = 1; m <= 3; m++) plot(m)
    print "<section><h2>What the paper claims</h2><p>By means over seeds: a difference of a point or two may be chance.</p><ul>"
    if (different < 3) {
        print "<li>Fewer than three sizes: nothing is said about lines.</li>"
    } else {
        if (("sft", 1) in slope) verdict("Pass@1 of fine-tuning grows linearly with the log of its stays (R² at least 0.95).", r2["sft", 1] >= 0.95, sprintf("R² %.3f, %.2f points a doubling (paper: .999 and 3.40).", r2["sft", 1], slope["sft", 1]))
        if (("grpo", 1) in slope) verdict("So does Pass@1 behind GRPO.", r2["grpo", 1] >= 0.95, sprintf("R² %.3f, %.2f points a doubling (paper: .992 and 2.47).", r2["grpo", 1], slope["grpo", 1]))
    }
    if (change(1)) {
        verdict("GRPO raises Pass@1 from every start.", low > 0, sprintf("%+.2f to %+.2f points.", low, high))
        if (highest_size > lowest_size)
            verdict("The stronger the start, the smaller the gain.", at_highest < at_lowest, sprintf("%+.2f at %d stays, %+.2f at %d.", at_lowest, lowest_size, at_highest, highest_size))
    }
    if (change(2)) verdict("GRPO lowers Pass@8: it sharpens what is there.", high < 0, sprintf("%+.2f to %+.2f points.", low, high))
    print "</ul></section><section><h2>All runs</h2>"
    table("method\tstays\tseed\tPass@1\tPass@8\tMaj@8\tbase\tseverity\tformat", row, n)
    print "</section>"
    if (ablation > 0 && ablations > 0) {
        printf "<section><h2>Ablations at %d stays</h2><p>Rows of the paper's table 1, from the same fine-tuned model. One seed: differences of a few points may be chance.</p>\n", ablation
        table("row\tPass@1\tPass@8\tMaj@8\tbase\tseverity\tformat", ablation_row, ablations)
        print "</section>"
    }
    print "</main></html>"
}
