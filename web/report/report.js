/* The page of `casemix report`: reads the object in #data and draws it. Text goes in by textContent only. */
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const page = document.getElementById("page");
  const charts = [];

  const make = (tag, attributes, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
    for (const child of children) node.append(child);
    return node;
  };
  const percent = (x, digits = 1) => (x === null || x === undefined ? "–" : (100 * x).toFixed(digits) + " %");
  const number = (x, digits = 4) => (x === null || x === undefined ? "–" : x.toFixed(digits));
  const count = (x) => (x === null || x === undefined ? "–" : x.toLocaleString("en-US"));
  const range = (bounds, show) => (bounds && bounds[0] !== null ? `${show(bounds[0])} to ${show(bounds[1])}` : "");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const section = (title, explanation) => {
    const node = make("section", {}, make("h2", {}, title));
    if (explanation) node.append(make("p", {}, explanation));
    page.append(node);
    return node;
  };

  /* head: [text, numeric]; rows: arrays of cells. */
  const table = (head, rows) => {
    const top = make("tr", {}, ...head.map(([text, numeric]) => make("th", numeric ? { class: "n" } : {}, text)));
    const body = rows.map((cells) =>
      make("tr", {}, ...cells.map((cell, k) => make("td", head[k][1] ? { class: "n" } : {}, cell))));
    return make("div", { class: "wide" }, make("table", {}, make("thead", {}, top), make("tbody", {}, ...body)));
  };

  const key = (...entries) =>
    make("div", { class: "key" }, ...entries.map(([name, variable]) => {
      const mark = make("i", { style: `background:var(${variable})` });
      return make("span", {}, mark, name);
    }));

  /* A chart whose colours follow the scheme. series: [{name, variable, dash, points, linear}]; x and y are formats. */
  const chart = (parent, x, columns, series, options) => {
    const holder = make("div", {});
    parent.append(holder);
    charts.push(() => {
      holder.replaceChildren();
      const axis = (values, label) => ({
        values: (u, splits) => splits.map(values), label, labelSize: 22, labelFont: "12px system-ui", font: "12px system-ui",
        stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 },
      });
      new uPlot({
        width: Math.max(280, holder.clientWidth), height: options.height || 260,
        cursor: { show: false }, legend: { show: false },
        scales: { x: { time: false, range: options.x }, y: { range: options.y } },
        axes: [axis(options.showX || String, options.labelX), { ...axis(options.showY || String, options.labelY), size: 58 }],
        series: [{}, ...series.map((one) => ({
          label: one.name, stroke: colour(one.variable), width: 2, dash: one.dash, spanGaps: true,
          points: { show: Boolean(one.points), size: 6, fill: colour(one.variable) },
        }))],
      }, [x, ...columns], holder);
    });
  };

  const bars = (groups) =>
    make("div", { class: "bars" }, ...groups.flatMap((group) => {
      const track = make("div", { class: "track" }, make("div", { class: "fill", style: `width:${100 * group.acc1}%` }));
      const [low, high] = group.acc1_interval;
      if (low !== null)
        track.append(make("div", { class: "range", style: `left:${100 * low}%;width:${Math.max(0, 100 * (high - low))}%` }));
      track.title = `${percent(group.acc1)} (${range(group.acc1_interval, percent)}), ${group.stays} stays`;
      return [make("div", { class: "name", title: group.name }, group.name + " ", make("small", {}, count(group.stays))),
        track, make("div", { class: "value" }, percent(group.acc1))];
    }));

  const header = () => {
    const card = data.card || {};
    const evaluation = data.evaluation;
    page.append(make("h1", {}, data.name));
    const facts = [`${card.task || ""} model of ${card.labels || "?"} DRGs`, `grouper ${card.grouper || "?"}`,
      `at most ${count(card.max_tokens)} tokens`, `casemix ${data.version}`];
    page.append(make("p", {}, facts.join(" · ")));
    if (!evaluation) {
      page.append(make("p", {}, "This run has not been evaluated: casemix eval --out RUN/evaluation writes what is missing here."));
      return;
    }
    if (evaluation.acc1 === undefined) return;
    const bounds = evaluation.intervals;
    const ratio = evaluation.ratios;
    const cards = [["DRG right (acc@1)", percent(evaluation.acc1), range(bounds.acc1, percent)],
      ["among the first 5", percent(evaluation.acc5), range(bounds.acc5, percent)],
      ["macro-F1", number(evaluation.f1_macro, 3), range(bounds.f1_macro, (v) => number(v, 3))],
      ["case-mix-index error", percent(ratio.cmi_error.value), range(ratio.cmi_error.interval, percent)],
      ["calibration error (ECE)", percent(ratio.ece_width.value), range(ratio.ece_width.interval, percent)]];
    page.append(make("div", { class: "cards" }, ...cards.map(([name, value, interval]) =>
      make("div", { class: "card" }, make("span", {}, name), make("b", {}, value), make("span", {}, interval)))));
    page.append(make("p", { style: "margin-top:10px" },
      `${count(evaluation.count)} stays of ${count(evaluation.patients)} patients, ${evaluation.labels} distinct DRGs. ` +
      `Beneath each figure its 95 % interval, from ${count(evaluation.resamples)} bootstrap resamples of patients.`));
  };

  const flow = () => {
    const cohort = data.flow || (data.evaluation && data.evaluation.flow);
    const steps = (cohort && cohort.steps) || [];
    if (!steps.length) return;
    const node = section("Cohort", "Rows that were left after each step of the cohort's preparation.");
    node.append(table([["Step"], ["Rows left", true], ["Dropped", true], ["Why"]],
      steps.map((step) => [step.what || step.step || "", count(step.rows), count(step.dropped), step.why || ""])));
  };

  const training = () => {
    const steps = data.log.filter((row) => typeof row.loss === "number");
    const tests = data.log.filter((row) => typeof row.dev_loss === "number");
    if (!steps.length && !tests.length) return;
    const node = section("Training", "Mean training loss since the line before, and the loss and accuracy on dev.");
    const pair = make("div", { class: "pair" });
    const left = make("div", {}, make("h3", {}, "Loss"), key(["training", "--one"], ["dev", "--two"]));
    const right = make("div", {}, make("h3", {}, "Dev acc@1"), key(["dev acc@1", "--three"]));
    node.append(pair);
    pair.append(left);
    const all = [...new Set([...steps, ...tests].map((row) => row.step))].sort((a, b) => a - b);
    const column = (rows, name) => {
      const values = new Map(rows.map((row) => [row.step, row[name]]));
      return all.map((step) => (values.has(step) ? values.get(step) : null));
    };
    chart(left, all, [column(steps, "loss"), column(tests, "dev_loss")],
      [{ name: "training", variable: "--one" }, { name: "dev", variable: "--two", points: true }], { labelX: "step" });
    if (!tests.length) return;
    pair.append(right);
    chart(right, tests.map((row) => row.step), [tests.map((row) => row.dev_acc1)],
      [{ name: "dev acc@1", variable: "--three", points: true }], { labelX: "step", showY: (v) => percent(v, 0) });
  };

  const metrics = (evaluation) => {
    const node = section("Metrics", "The metrics of DRG-LLaMA; base DRG, severity class and their composition by themselves; the case-mix index; kinds of errors.");
    const bounds = evaluation.intervals;
    const drg = [["acc@1", "acc1", percent], ["acc@5", "acc5", percent], ["acc@10", "acc10", percent],
      ["macro-F1", "f1_macro", number], ["micro-F1", "f1_micro", number], ["macro-AUC", "auc_macro", number],
      ["micro-AUC", "auc_micro", number]];
    const named = [["base acc@1", "base_acc1", percent], ["severity acc@1", "severity_acc1", percent],
      ["composed acc@1", "composed1", percent], ["composed acc@5", "composed5", percent],
      ["composed acc@10", "composed10", percent]];
    const money = [["true case-mix index", "cmi_true", number], ["predicted", "cmi_predicted", number],
      ["expected under p", "cmi_expected", number], ["error of predicted", "cmi_error", percent],
      ["error of expected", "cmi_error_expected", percent], ["over-coded stays", "over_coded", percent],
      ["their mean excess weight", "over_coded_weight", number], ["under-coded stays", "under_coded", percent],
      ["their mean missing weight", "under_coded_weight", number]];
    const errors = [["wrong base only", "wrong_base", percent], ["wrong severity only", "wrong_severity", percent],
      ["both wrong", "wrong_both", percent], ["surgical as medical", "surgical_as_medical", percent],
      ["medical as surgical", "medical_as_surgical", percent]];
    const head = (title) => [[title], ["Value", true], ["95 % interval", true]];
    const ratios = (list) => list.map(([name, member, show]) => {
      const ratio = evaluation.ratios[member];
      return [name, show(ratio.value), range(ratio.interval, show)];
    });
    const pair = make("div", { class: "pair" });
    pair.append(make("div", {}, table(head("DRG"), drg.map(([name, member, show]) =>
      [name, show(evaluation[member]), range(bounds[member], show)])), make("h3", {}, ""), table(head("Parts of the DRG"), ratios(named))));
    pair.append(make("div", {}, table(head("Money"), ratios(money)), make("h3", {}, ""), table(head("Errors, of all stays"), ratios(errors))));
    node.append(pair);
    if (!evaluation.baselines.length) return;
    node.append(make("h3", {}, "Beside it"), table([["Baseline"], ["acc@1", true], ["95 % interval", true], ["acc@5", true], ["macro-F1", true], ["Model ahead at acc@1 by", true]],
      evaluation.baselines.map((one) => [one.name, percent(one.acc1), range(one.intervals.acc1, percent), percent(one.acc5), number(one.f1_macro, 3),
        one.model_lead_acc1 === undefined ? "" : `${percent(one.model_lead_acc1)} (${range(one.model_lead_acc1_interval, percent)})`])));
  };

  const probabilities = (evaluation) => {
    const node = section("Probabilities", "Left: how often predictions of a confidence are right; on the diagonal they mean what they say (bins of ten stays and more). Right: accepting only the surest stays, the share of them that is right.");
    const pair = make("div", { class: "pair" });
    const left = make("div", {}, make("h3", {}, `Reliability (temperature ${number(evaluation.calibration.temperature, 3)})`),
      key(["right", "--one"], ["at temperature 1", "--two"], ["perfect", "--soft"]));
    const right = make("div", {}, make("h3", {}, "Right among the accepted"), key(["right", "--three"], ["lower bound, 95 %", "--soft"]));
    node.append(pair);
    pair.append(left, right);
    const points = (bins) => {
      const full = bins.filter((bin) => bin.stays >= 10);
      return (full.length >= 3 ? full : bins.filter((bin) => bin.stays > 0)).map((bin) => [bin.confidence, bin.accuracy]);
    };
    const after = points(evaluation.calibration.equal_width.bins);
    const before = points(evaluation.calibration.equal_width_before.bins);
    const xs = [...new Set([0, 1, ...after, ...before].map((p) => (Array.isArray(p) ? p[0] : p)))].sort((a, b) => a - b);
    const at = (list) => xs.map((x) => { const found = list.find((p) => p[0] === x); return found ? found[1] : null; });
    chart(left, xs, [at(after), at(before), xs],
      [{ name: "right", variable: "--one", points: true }, { name: "before", variable: "--two", dash: [4, 4] },
        { name: "perfect", variable: "--soft", dash: [2, 4] }],
      { labelX: "confidence", x: [0, 1], y: [0, 1], showX: (v) => percent(v, 0), showY: (v) => percent(v, 0), height: 300 });
    const rows = evaluation.risk_coverage.table;
    const lowest = Math.max(0, Math.min(...rows.map((row) => row.lower)) - 0.02);
    chart(right, rows.map((row) => row.coverage), [rows.map((row) => row.accuracy), rows.map((row) => row.lower)],
      [{ name: "right", variable: "--three" }, { name: "bound", variable: "--soft", dash: [4, 4] }],
      { labelX: "accepted stays", x: [0, 1], y: [lowest, 1.005], showX: (v) => percent(v, 0), showY: (v) => percent(v, 0), height: 300 });
    const calibration = evaluation.calibration;
    left.append(table([["" ], ["Before", true], ["After", true]], [
      ["ECE, equal width", percent(calibration.equal_width_before.ece), percent(calibration.equal_width.ece)],
      ["ECE, equal mass", percent(calibration.equal_mass_before.ece), percent(calibration.equal_mass.ece)],
      ["NLL", number(calibration.nll_before), number(calibration.nll_after)],
      ["Brier", number(calibration.brier_before), number(calibration.brier_after)]]));
    const risk = evaluation.risk_coverage;
    const threshold = (name, one) => one ? [name, number(one.threshold), percent(one.coverage), percent(one.accuracy), percent(one.lower)]
      : [name, "none", "", "", ""];
    right.append(table([[`95 % right, thresholds from ${risk.thresholds_from}`], ["p", true], ["Accepts", true], ["Right", true], ["At least", true]],
      [threshold("as counted", risk.threshold_95), threshold("with 95 % confidence", risk.threshold_95_assured)]),
      make("p", { style: "margin-top:8px" }, `AURC ${number(risk.aurc)} (${range(risk.aurc_interval, number)}); best possible ${number(risk.aurc_best_possible)}.`));
  };

  const groups = (evaluation) => {
    const titles = { mdc: "Major diagnostic category", training_stays: "Stays of the DRG in training", severity: "Severity", type: "Medical, surgical" };
    const node = section("Where it is right", "acc@1 by the true DRG's properties, with stays and 95 % intervals.");
    const pair = make("div", { class: "pair" });
    const left = make("div", {});
    const right = make("div", {});
    node.append(pair);
    pair.append(left, right);
    for (const [kind, list] of Object.entries(evaluation.groups))
      (kind === "mdc" ? left : right).append(make("h3", {}, titles[kind] || kind), bars(list));
  };

  const confusions = (evaluation) => {
    const node = section("Bases taken for each other", "The 30 commonest base DRGs: rows are true, columns predicted, in the same order; the last column is any other base. Shade is the share of the row.");
    const { bases, stays } = evaluation.base_matrix;
    const head = make("tr", {}, make("th", {}), ...bases.map((base) => make("th", {}, make("span", {}, base.codes))), make("th", {}, make("span", {}, "other")));
    const rows = stays.map((row, k) => {
      const total = row.reduce((sum, n) => sum + n, 0);
      const name = make("th", { title: bases[k].codes_title }, `${bases[k].codes} `, make("span", { class: "title" }, bases[k].codes_title.toLowerCase()));
      return make("tr", {}, name, ...row.map((n, column) => {
        const share = total ? n / total : 0;
        const cell = make("td", { title: `${n} of ${total}: ${bases[k].codes} as ${column < bases.length ? bases[column].codes : "other"}` }, n ? String(n) : "");
        cell.style.background = n ? `rgba(var(--cell), ${(0.08 + 0.6 * share).toFixed(3)})` : "var(--ground)";
        return cell;
      }));
    });
    node.append(make("div", { class: "wide" }, make("table", { class: "matrix" }, make("thead", {}, head), make("tbody", {}, ...rows))));
    node.append(make("h3", {}, "Most frequent"), table([["True base"], ["Predicted base"], ["Stays", true], ["Of the base", true]],
      evaluation.confusions.slice(0, 12).map((one) => [`${one.true} ${one.true_title}`, `${one.predicted} ${one.predicted_title}`, count(one.stays), percent(one.share)])));
  };

  const worst = (evaluation) => {
    const fewest = 5;
    const list = evaluation.drgs.filter((one) => one.stays >= fewest && one.right < one.stays)
      .sort((a, b) => a.acc1 - b.acc1 || b.stays - a.stays).slice(0, 15);
    if (!list.length) return;
    const node = section("Worst DRGs", `Lowest acc@1 among DRGs with at least ${fewest} stays.`);
    const code = (drg) => String(drg).padStart(3, "0");
    node.append(table([["DRG"], ["Stays", true], ["Right", true], ["F1", true], ["Mostly taken for"]],
      list.map((one) => [`${code(one.drg)} ${one.title}`, count(one.stays), percent(one.acc1, 0), number(one.f1, 2),
        one.mistaken_for ? `${code(one.mistaken_for)} ${one.mistaken_title} (${one.mistaken_stays})` : ""])));
  };

  /* The note with what carries the first prediction on a ground and what speaks for the true DRG underlined. */
  const marked = (pieces) => {
    const node = make("div", { class: "note" });
    const largest = [1, 2].map((which) => Math.max(0, ...pieces.map((piece) => piece[which] || 0)));
    for (const [text, first, truth] of pieces) {
      if (!first && !truth) {
        node.append(text);
        continue;
      }
      const mark = make("mark", { title: [first && `first prediction ${first.toFixed(2)}`, truth && `true DRG ${truth.toFixed(2)}`].filter(Boolean).join(", ") }, text);
      if (first) mark.style.background = `rgba(var(--mark), ${(0.22 + 0.5 * first / largest[0]).toFixed(3)})`;
      if (truth) mark.className = "truth";
      node.append(mark);
    }
    return node;
  };

  const examples = () => {
    if (!data.examples.length) return;
    const node = section("Examples", "The surest wrong predictions and the least sure right ones, with the beginning of the note.");
    if (data.examples.some((one) => one.pieces))
      node.append(make("div", { class: "key" },
        make("span", {}, make("mark", { style: "background:rgba(var(--mark), 0.6)" }, "words"), " a tenth of all: they carry the first prediction, the stronger the colour, the more"),
        make("span", {}, make("mark", { class: "truth" }, "words"), " speak for the true DRG, where that is another one")));
    for (const one of data.examples) {
      const lines = one.predictions.map((p) => `${String(p.drg).padStart(3, "0")}  ${percent(p.p)}`).join("   ");
      node.append(make("h3", {}, `${one.right ? "Right" : "Wrong"}: DRG ${String(one.drg).padStart(3, "0")} ${one.title}`),
        make("p", {}, lines), one.pieces ? marked(one.pieces) : make("pre", {}, one.text));
    }
  };

  /* Of the deletion test: what the first DRG's probability falls by without words. */
  const evidence = (evaluation) => {
    const test = evaluation.deletion;
    if (!test) return;
    const points = (x) => (100 * x).toFixed(1);
    const cell = (effect, name) => `${points(effect[name])} (${range(effect[name + "_interval"], points)})`;
    const node = section("Evidence", `Points by which the probability of the first DRG falls without the words that evidence by ${test.method} calls strongest, and without as many words at random (${test.draws} draws each). ${count(test.stays)} stays, ${number(test.words, 0)} words a note.`);
    node.append(table([["Words left out", true], ["Strongest", true], ["Random", true], ["Difference", true], ["Another first DRG: strongest", true], ["random", true]],
      test.shares.map((one) => [`${one.percent} %`, cell(one.p, "strongest"), cell(one.p, "random"), cell(one.p, "lead"),
        percent(one.changed.strongest), percent(one.changed.random)])));
  };

  const recipe = () => {
    const node = section("Recipe and versions");
    const card = data.card || {};
    const evaluation = data.evaluation || {};
    const facts = [["casemix", data.version], ["recipe", card.recipe], ["base model", card.base], ["hash of the base's config.json", card.base_hash],
      ["temperature", card.temperature], ["scored on", evaluation.data], ["calibrated on", evaluation.calibrated_on],
      ["training data", evaluation.training_data], ["bootstrap seed", evaluation.seed], ["uPlot", uPlotVersion]];
    node.append(table([["What"], ["Value"]], facts.filter(([, value]) => value !== undefined && value !== null && value !== "")
      .map(([name, value]) => [name, String(value)])));
    if (data.recipe) node.append(make("details", {}, make("summary", {}, "The recipe as run"), make("pre", {}, data.recipe)));
  };

  document.title = `${data.name} – casemix report`;
  header();
  flow();
  training();
  if (data.evaluation && data.evaluation.acc1 !== undefined)
    for (const part of [metrics, probabilities, groups, confusions, worst, evidence]) part(data.evaluation);
  examples();
  recipe();
  const draw = () => charts.forEach((one) => one());
  draw();
  addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
