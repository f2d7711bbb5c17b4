/* The dashboard of what was reviewed: how often reviewers agree with the model, by MDC and over time; and how the
 * model's confidence drifts, over all notes coded. */
import { useEffect, useState } from "preact/hooks";
import { count, percent } from "../figures/format";
import { wilson } from "../figures/intervals";
import { useShortcuts } from "../keyboard";
import { IntervalBar } from "../parts/bar";
import { LineChart, type Point } from "../parts/line_chart";
import { dashboard } from "../server/client";
import { faultText, mayReview, session } from "../server/connection";
import type { Dashboard } from "../server/contract";

/** Above this the population stability index is usually called a shift. */
const SHIFT = 0.2;

function Whole({ figures }: { figures: Dashboard }) {
  const interval = wilson(figures.agreed, figures.reviewed);
  const last = figures.confidence.at(-1);
  const shifted = (last?.stability ?? 0) > SHIFT;
  return (
    <div class="tiles" role="group" aria-label="As a whole">
      <div class="tile"><span class="tile-name">Notes coded</span><b>{count(figures.predictions)}</b><span class="tile-note" /></div>
      <div class="tile">
        <span class="tile-name">Reviewed</span><b>{count(figures.reviewed)}</b>
        <span class="tile-note">{figures.predictions > 0 ? `${percent(figures.reviewed / figures.predictions, 0)} of them` : ""}</span>
      </div>
      <div class="tile">
        <span class="tile-name">Agreement with the model</span><b>{figures.agreement === null ? "–" : percent(figures.agreement)}</b>
        <span class="tile-note">{figures.reviewed > 0 ? `95 %: ${percent(interval.low)} to ${percent(interval.high)}` : ""}</span>
      </div>
      <div class="tile">
        <span class="tile-name">Mean confidence, last week</span><b>{last ? percent(last.mean_p) : "–"}</b>
        <span class="tile-note">{last ? `${count(last.predictions)} notes` : ""}</span>
      </div>
      <div class={`tile${shifted ? " warn" : ""}`}>
        <span class="tile-name">Shift of confidence, last week</span>
        <b>{last?.stability == null ? "–" : last.stability.toFixed(2)}</b>
        <span class="tile-note">{last?.stability == null ? "needs two weeks of 50 notes" : shifted ? "over 0.2: look into it" : "under 0.2: steady"}</span>
      </div>
    </div>
  );
}

function ByMdc({ rows }: { rows: Dashboard["by_mdc"] }) {
  return (
    <section class="panel" aria-labelledby="mdc-title">
      <div class="panel-head"><h2 id="mdc-title">Agreement by MDC</h2><span class="soft">with 95 % intervals</span></div>
      {rows.length === 0 ? <p class="soft nothing">Nothing has been reviewed yet.</p> : (
        <table aria-labelledby="mdc-title" class="by-mdc">
          <thead>
            <tr>
              <th scope="col">MDC</th><th scope="col">Agreement</th><th scope="col" class="figure"><span class="spoken">Share</span></th>
              <th scope="col" class="figure">Reviewed</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => {
              const interval = wilson(row.agreed, row.reviewed);
              return (
                <tr key={row.mdc}>
                  <th scope="row" title={row.mdc_name}><span class="one-line"><b>{row.mdc}</b> {row.mdc_name}</span></th>
                  <td class="wide-bar"><IntervalBar share={row.agreement} low={interval.low} high={interval.high} /></td>
                  <td class="figure">{percent(row.agreement, 0)}</td>
                  <td class="figure">{count(row.reviewed)}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      )}
    </section>
  );
}

function agreementPoint(week: Dashboard["by_week"][number]): Point {
  return { date: week.date, value: week.agreement, ...wilson(week.agreed, week.reviewed), note: `${week.agreed} of ${week.reviewed} reviewed` };
}

function confidencePoint(week: Dashboard["confidence"][number]): Point {
  const shift = week.stability === null ? "" : `; stability index ${week.stability.toFixed(2)}`;
  return { date: week.date, value: week.mean_p, note: `${week.predictions} notes${shift}`, warn: (week.stability ?? 0) > SHIFT };
}

/** Shades of a cell by its share of the week: classes, since the page's policy allows no style of an element. */
const shade = (share: number) => `d${Math.min(9, Math.floor(share * 20))}`;

function Deciles({ weeks }: { weeks: Dashboard["confidence"] }) {
  const shown = weeks.slice(-12);
  return (
    <table class="deciles" aria-label="Notes by confidence, week by week">
      <thead>
        <tr>
          <th scope="col">Week</th>
          {Array.from({ length: 10 }, (_, index) => <th key={index} scope="col" class="figure">{index === 9 ? "≥ .9" : `.${index}`}</th>)}
          <th scope="col" class="figure">Shift</th>
        </tr>
      </thead>
      <tbody>
        {shown.map((week) => (
          <tr key={week.date}>
            <th scope="row">{week.date}</th>
            {week.deciles.map((notes, index) => (
              <td key={index} class={`figure ${shade(week.predictions > 0 ? notes / week.predictions : 0)}`}>{notes === 0 ? "" : count(notes)}</td>
            ))}
            <td class={`figure${(week.stability ?? 0) > SHIFT ? " warn" : ""}`}>{week.stability === null ? "–" : week.stability.toFixed(2)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export function DashboardView() {
  const [figures, setFigures] = useState<Dashboard | null>(null);
  const [fault, setFault] = useState<string | null>(null);
  useShortcuts("Dashboard", []);
  useEffect(() => {
    if (mayReview.value) dashboard().then(setFigures, (error: unknown) => setFault(faultText(error)));
  }, [session.value]);
  return (
    <div class="view dashboard scroll" tabIndex={0} role="region" aria-label="Dashboard">
      <h1 class="spoken">Dashboard</h1>
      {session.value && !mayReview.value && <p class="panel soft">The key {session.value.name} may code notes, but not see reviews.</p>}
      {fault && <p class="fault" role="alert">{fault}</p>}
      {figures && (
        <>
          <Whole figures={figures} />
          <div class="columns">
            <ByMdc rows={figures.by_mdc} />
            <div class="column">
              <section class="panel" aria-labelledby="weeks-title">
                <div class="panel-head"><h2 id="weeks-title">Agreement over time</h2><span class="soft">by week, with 95 % intervals</span></div>
                {figures.by_week.length === 0
                  ? <p class="soft nothing">Nothing has been reviewed yet.</p>
                  : <LineChart name="Agreement by week" points={figures.by_week.map(agreementPoint)} />}
              </section>
              <section class="panel" aria-labelledby="confidence-title">
                <div class="panel-head"><h2 id="confidence-title">Confidence</h2><span class="soft">mean of all notes coded, by week; notes by tenth of confidence</span></div>
                {figures.confidence.length === 0
                  ? <p class="soft nothing">No note has been coded yet.</p>
                  : <LineChart name="Mean confidence by week" points={figures.confidence.map(confidencePoint)}><Deciles weeks={figures.confidence} /></LineChart>}
              </section>
            </div>
          </div>
        </>
      )}
    </div>
  );
}
