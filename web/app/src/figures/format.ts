/* How figures are written, everywhere alike. */

const money = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD", maximumFractionDigits: 0 });
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export const NOTHING = "–";
const MINUS = "−";

export const dollars = (value: number) => money.format(value).replace("-", MINUS);
export const count = (value: number) => whole.format(value);
export const code = (drg: number) => String(drg).padStart(3, "0");
export const weight = (value: number) => value.toFixed(4);
export const days = (value: number) => value.toFixed(1);

/** 0.9634 → "96.3 %"; what rounds to all or nothing and is not, says so. */
export function percent(share: number, digits = 1): string {
  if (share > 0 && share < 0.5 * 10 ** (-digits - 2)) return `<${(10 ** -digits).toFixed(digits)} %`;
  if (share < 1 && share > 1 - 0.5 * 10 ** (-digits - 2)) return `>${(100 - 10 ** -digits).toFixed(digits)} %`;
  return `${(100 * share).toFixed(digits)} %`;
}

/** With its sign, a true minus: "+0.4348", "−0.2830", "0.0000". */
export function signed(value: number, write: (magnitude: number) => string): string {
  const magnitude = write(Math.abs(value));
  if (/^\D*0*[.,]?0*\D*$/.test(magnitude)) return magnitude;
  return (value < 0 ? MINUS : "+") + magnitude;
}

/* What stays in capitals when a CMS title is written in small letters. */
const ABBREVIATIONS = new Set(
  ("CC MCC MV O.R. D&C PDX SDX AMI G.I. HIV URI PTCA HF ESW CNS AICD TPA ECMO CVA AMA CAR C.D.E. T-CELL ICD TIA " +
    "D.E. ENT CNS").split(" "),
);

/** CMS titles are in capitals; a list of them reads better in small letters, abbreviations left as they are. */
export function title(upper: string): string {
  const lower = upper.replace(/[A-Z0-9.&-]+/g, (word) => (ABBREVIATIONS.has(word) ? word : word.toLowerCase()));
  return lower.charAt(0).toUpperCase() + lower.slice(1);
}

const moment = new Intl.DateTimeFormat("en-GB", { dateStyle: "short", timeStyle: "short" });

/** A moment of the server, in this computer's time: "25/11/2026, 20:15". */
export const when = (utc: string) => moment.format(new Date(utc));
