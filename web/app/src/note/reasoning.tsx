/* The reasoning of a generative model, shown while it is written, and a physician's rating of it: helpfulness and
 * accuracy from 1 to 5, as in the DRG-Sapphire paper. */
import { useEffect, useState } from "preact/hooks";
import { mayReview } from "../server/connection";
import { phase, rate, ratings, reasoning, record } from "./desk";

const SCALE = [1, 2, 3, 4, 5] as const;
const QUESTIONS = {
  helpfulness: { name: "Helpfulness", ends: "1 useless, 5 as good as a colleague's" },
  accuracy: { name: "Accuracy", ends: "1 wrong, 5 right in every point" },
} as const;

function Scale({ question, value, onChange }: { question: keyof typeof QUESTIONS; value: number; onChange: (value: number) => void }) {
  return (
    <fieldset class="scale" title={QUESTIONS[question].ends} disabled={!mayReview.value}>
      <legend>{QUESTIONS[question].name}</legend>
      {SCALE.map((step) => (
        <label key={step}>
          <input type="radio" name={question} value={step} checked={value === step} onChange={() => onChange(step)} />
          <span>{step}</span>
        </label>
      ))}
    </fieldset>
  );
}

function RatingForm() {
  const [helpfulness, setHelpfulness] = useState(0);
  const [accuracy, setAccuracy] = useState(0);
  const [comment, setComment] = useState("");
  useEffect(() => {
    setHelpfulness(0);
    setAccuracy(0);
    setComment("");
  }, [record.value]);
  const ready = helpfulness > 0 && accuracy > 0 && mayReview.value;
  return (
    <form class="row actions rating" onSubmit={(event) => {
      event.preventDefault();
      if (ready) void rate(helpfulness, accuracy, comment).then((kept) => kept && setComment(""));
    }}>
      <Scale question="helpfulness" value={helpfulness} onChange={setHelpfulness} />
      <Scale question="accuracy" value={accuracy} onChange={setAccuracy} />
      <input class="grow" type="text" aria-label="Comment on the reasoning" placeholder="Comment on the reasoning" maxLength={1000}
        autocomplete="off" value={comment} disabled={!mayReview.value} onInput={(event) => setComment(event.currentTarget.value)} />
      <button type="submit" disabled={!ready}>Rate</button>
    </form>
  );
}

export function Reasoning() {
  const writing = phase.value === "coding";
  const last = ratings.value[0];
  return (
    <section class="panel reasoning" aria-labelledby="reasoning-title">
      <div class="panel-head">
        <h2 id="reasoning-title">Reasoning</h2>
        <span class="soft">{writing ? "being written…" : last ? `rated by ${last.rater}: helpfulness ${last.helpfulness}, accuracy ${last.accuracy}` : ""}</span>
      </div>
      <div class="reasoning-text" tabIndex={0} role="region" aria-label="Reasoning" aria-busy={writing}>
        {reasoning.value || (phase.value === "coded" ? "The model wrote none." : "")}
      </div>
      {record.value?.reasoning !== undefined && record.value.reasoning !== "" && <RatingForm />}
    </section>
  );
}
