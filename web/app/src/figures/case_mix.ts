/* The case-mix index of a cohort, predicted against billed: the mean relative weight of its stays by either, and their
 * paired difference. The intervals say how far the mean would move with other stays of the same kind (bootstrap over
 * stays); they say nothing about what the model gets wrong for all of them alike. */
import { bootstrap, type Interval } from "./intervals";

export interface StayWeights {
  predicted: number;
  billed: number | null;
}

export interface Mean {
  value: number;
  interval: Interval | null;
}

export interface CaseMix {
  stays: number;
  compared: number; // stays that carry a billed DRG
  predicted: Mean | null; // over the compared stays where there are any, else over all
  billed: Mean | null;
  difference: Mean | null; // predicted - billed, as the server has it
}

function mean(values: number[]): Mean | null {
  if (values.length === 0) return null;
  const sum = values.reduce((total, value) => total + value, 0);
  const interval = bootstrap(values.length, (drawn) => {
    let total = 0;
    for (let i = 0; i < drawn.length; i++) total += values[drawn[i]!]!;
    return total / drawn.length;
  });
  return { value: sum / values.length, interval };
}

export function caseMix(stays: StayWeights[]): CaseMix {
  const compared = stays.filter((stay) => stay.billed !== null);
  const shown = compared.length > 0 ? compared : stays;
  return {
    stays: stays.length,
    compared: compared.length,
    predicted: mean(shown.map((stay) => stay.predicted)),
    billed: mean(compared.map((stay) => stay.billed!)),
    difference: mean(compared.map((stay) => stay.predicted - stay.billed!)),
  };
}
