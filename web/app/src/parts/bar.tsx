/* Bars as SVG: a share of a track, and a difference to both sides of a middle line. The figure always stands beside
 * them in writing, so they are hidden from screen readers. */

const percent = (share: number) => `${Math.max(0, Math.min(1, share)) * 100}%`;

export function Bar({ share, kind = "one" }: { share: number; kind?: "one" | "two" | "soft" }) {
  return (
    <svg class={`bar ${kind}`} aria-hidden="true" focusable="false">
      <rect class="track" width="100%" height="100%" />
      <rect class="fill" width={percent(share)} height="100%" />
    </svg>
  );
}

/** From -1 to 1; what is above goes to the right. */
export function DifferenceBar({ share }: { share: number }) {
  const half = Math.min(1, Math.abs(share)) * 50;
  return (
    <svg class={`bar difference ${share < 0 ? "below" : "above"}`} aria-hidden="true" focusable="false">
      <rect class="track" width="100%" height="100%" />
      <rect class="fill" x={`${share < 0 ? 50 - half : 50}%`} width={`${half}%`} height="100%" />
      <line class="middle" x1="50%" x2="50%" y1="0" y2="100%" />
    </svg>
  );
}

/** A share with its interval. */
export function IntervalBar({ share, low, high }: { share: number; low: number; high: number }) {
  return (
    <svg class="bar interval one" aria-hidden="true" focusable="false">
      <rect class="track" width="100%" height="100%" />
      <rect class="fill" width={percent(share)} height="100%" />
      <line class="whisker" x1={percent(low)} x2={percent(high)} y1="50%" y2="50%" />
      <line class="whisker" x1={percent(low)} x2={percent(low)} y1="25%" y2="75%" />
      <line class="whisker" x1={percent(high)} x2={percent(high)} y1="25%" y2="75%" />
    </svg>
  );
}
