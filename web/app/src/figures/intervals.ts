/* Intervals of 95 %: Wilson's for a share (E. B. Wilson 1927), the percentile bootstrap for a statistic of items that
 * are drawn again with replacement. */
import { randomFrom } from "./random";

export interface Interval {
  low: number;
  high: number;
}

const Z95 = 1.959964;

/** Wilson's interval of `hits` out of `count`; 0 to 1 where there is nothing to count. */
export function wilson(hits: number, count: number): Interval {
  if (count === 0) return { low: 0, high: 1 };
  const share = hits / count;
  const z2 = (Z95 * Z95) / count;
  const middle = (share + z2 / 2) / (1 + z2);
  const half = (Z95 / (1 + z2)) * Math.sqrt((share * (1 - share)) / count + z2 / (4 * count));
  return { low: Math.max(0, middle - half), high: Math.min(1, middle + half) };
}

/** The value below which a share `q` of the sorted values lies, interpolated between neighbours. */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  const position = (sorted.length - 1) * q;
  const below = Math.floor(position);
  const low = sorted[below] ?? NaN;
  const high = sorted[Math.min(below + 1, sorted.length - 1)] ?? NaN;
  return low + (high - low) * (position - below);
}

/** Percentile bootstrap of `statistic` over the items 0 … count - 1; null below two items. A resample for which the
 * statistic is not a number (all of its items alike, say) is left out. */
export function bootstrap(
  count: number,
  statistic: (drawn: Int32Array) => number,
  { resamples = 1000, seed = 1 } = {},
): Interval | null {
  if (count < 2) return null;
  const random = randomFrom(seed);
  const drawn = new Int32Array(count);
  const values: number[] = [];
  for (let r = 0; r < resamples; r++) {
    for (let i = 0; i < count; i++) drawn[i] = Math.floor(random() * count);
    const value = statistic(drawn);
    if (Number.isFinite(value)) values.push(value);
  }
  if (values.length < resamples / 2) return null;
  values.sort((a, b) => a - b);
  return { low: quantile(values, 0.025), high: quantile(values, 0.975) };
}
