/* A share over weeks as SVG: a line with its points, and a band where there is an interval. Drawn in units of its box,
 * so that it grows with its place; the table behind it says the same to a screen reader. */
import type { ComponentChildren } from "preact";
import { percent } from "../figures/format";

export interface Point {
  date: string; // "2026-11-23"
  value: number; // 0 to 1
  low?: number;
  high?: number;
  note: string; // what the point rests on: "12 of 15 reviewed"
  warn?: boolean;
}

const WIDTH = 640;
const HEIGHT = 180;
const LEFT = 40;
const BOTTOM = 22;
const TOP = 8;
const RIGHT = 22;

export function LineChart({ name, points, children }: { name: string; points: readonly Point[]; children?: ComponentChildren }) {
  const times = points.map((point) => Date.parse(point.date));
  const first = times[0] ?? 0;
  const span = Math.max(1, (times.at(-1) ?? 0) - first);
  const x = (index: number) => (points.length === 1 ? (LEFT + WIDTH - RIGHT) / 2 : LEFT + ((WIDTH - LEFT - RIGHT) * (times[index]! - first)) / span);
  const y = (value: number) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value);
  const line = points.map((point, index) => `${index === 0 ? "M" : "L"}${x(index).toFixed(1)} ${y(point.value).toFixed(1)}`).join("");
  const banded = points.every((point) => point.low !== undefined && point.high !== undefined);
  const band = !banded || points.length < 2 ? "" :
    points.map((point, index) => `${index === 0 ? "M" : "L"}${x(index).toFixed(1)} ${y(point.high!).toFixed(1)}`).join("") +
    [...points.keys()].reverse().map((index) => `L${x(index).toFixed(1)} ${y(points[index]!.low!).toFixed(1)}`).join("") + "Z";
  const every = Math.max(1, Math.ceil(points.length / 8));
  return (
    <figure class="chart">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true" focusable="false">
        {[0, 0.25, 0.5, 0.75, 1].map((value) => (
          <g key={value}>
            <line class="grid" x1={LEFT} x2={WIDTH - RIGHT} y1={y(value)} y2={y(value)} />
            <text class="tick" x={LEFT - 6} y={y(value) + 4} text-anchor="end">{Math.round(100 * value)} %</text>
          </g>
        ))}
        {band && <path class="band" d={band} />}
        <path class="line" d={line} />
        {points.map((point, index) => (
          <g key={point.date}>
            {point.low !== undefined && point.high !== undefined && points.length === 1 && (
              <line class="whisker" x1={x(index)} x2={x(index)} y1={y(point.low)} y2={y(point.high)} />
            )}
            <circle class={point.warn ? "point warn" : "point"} cx={x(index)} cy={y(point.value)} r={point.warn ? 5 : 3.5}>
              <title>{`${point.date}: ${percent(point.value)}; ${point.note}`}</title>
            </circle>
            {index % every === 0 && (
              <text class="tick" x={x(index)} y={HEIGHT - 6} text-anchor="middle">{point.date.slice(5)}</text>
            )}
          </g>
        ))}
      </svg>
      {children}
      <table class="spoken">
        <caption>{name}</caption>
        <tbody>
          {points.map((point) => <tr key={point.date}><th scope="row">{point.date}</th><td>{percent(point.value)}</td><td>{point.note}</td></tr>)}
        </tbody>
      </table>
    </figure>
  );
}
