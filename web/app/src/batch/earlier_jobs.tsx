/* Batches that the server still has from before a reload: they can be gone on with. */
import { useEffect, useState } from "preact/hooks";
import { when } from "../figures/format";
import { batchJobs } from "../server/client";
import { faultText } from "../server/connection";
import type { BatchJob } from "../server/contract";
import { resumeJob } from "./job";

export function EarlierJobs() {
  const [jobs, setJobs] = useState<BatchJob[]>([]);
  const [fault, setFault] = useState<string | null>(null);
  useEffect(() => {
    batchJobs().then(setJobs, (error: unknown) => setFault(faultText(error)));
  }, []);
  return (
    <div class="panel earlier">
      <h2>No batch is open</h2>
      <p class="soft">Stays come back as a worklist: those where weight and certainty say most that note and bill disagree stand first, in both directions.</p>
      {fault && <p class="fault">{fault}</p>}
      {jobs.length > 0 && (
        <ul>
          {jobs.map((job) => (
            <li key={job.job}>
              <button type="button" onClick={() => void resumeJob(job)}>Go on</button> {when(job.created)}: {job.done + job.failed} notes, {job.status}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
