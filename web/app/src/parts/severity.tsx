/* The severity of a DRG as a small label: its word, and a tint by how grave it is. */
import type { Drg } from "../server/contract";

const SHOWN: Record<Drg["severity"], { text: string; kind: string; spoken: string }> = {
  MCC: { text: "MCC", kind: "mcc", spoken: "with MCC" },
  CC: { text: "CC", kind: "cc", spoken: "with CC" },
  "CC/MCC": { text: "CC/MCC", kind: "cc", spoken: "with CC or MCC" },
  "without MCC": { text: "no MCC", kind: "none", spoken: "without MCC" },
  none: { text: "no CC/MCC", kind: "none", spoken: "without CC or MCC" },
  any: { text: "any", kind: "any", spoken: "one severity" },
};

export function Severity({ severity }: { severity: string }) {
  const shown = SHOWN[severity as Drg["severity"]] ?? { text: severity, kind: "any", spoken: severity };
  return <span class={`severity ${shown.kind}`} title={shown.spoken}>{shown.text}</span>;
}
