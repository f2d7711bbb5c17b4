/* Speaks with the server the page came from, and with no other. The API key, where the server wants one, lives in this
 * module's memory and nowhere else: a reload asks for it again. */
import { signal } from "@preact/signals";
import type {
  Agreement, BatchJob, Dashboard, DrgEntry, DrgList, DrgRecord, DrgRequest, Error as Fault, JobList, Model, ModelList, Note,
  RatingList, Rating, RatingRequest, Review, ReviewList, ReviewRequest, Session,
} from "./contract";
import { readEvents, type ServerEvent } from "./events";

/** An answer of 400 and above, or no answer at all (status 0). */
export class ServerFault extends Error {
  constructor(readonly status: number, readonly code: string, message: string, readonly hint: string, readonly retryAfter: number) {
    super(message);
  }
}

/** True while the server wants a key and has not got a right one; the page then shows the dialog that asks for it. */
export const keyWanted = signal(false);

let key = "";

export function setKey(value: string): void {
  key = value.trim();
  keyWanted.value = false;
}

async function faultOf(response: Response): Promise<ServerFault> {
  const retryAfter = Number(response.headers.get("Retry-After") ?? 0) || 0;
  try {
    const { error } = (await response.json()) as Fault;
    return new ServerFault(response.status, error.code, error.message, error.hint, retryAfter);
  } catch {
    return new ServerFault(response.status, "unknown", `the server answered ${response.status}`, "", retryAfter);
  }
}

async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  if (key !== "") headers.set("Authorization", `Bearer ${key}`);
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers, credentials: "omit", cache: "no-store", redirect: "error" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ServerFault(0, "unreachable", "the server does not answer", "Is `casemix serve` still running?", 0);
  }
  if (response.ok) return response;
  const fault = await faultOf(response);
  if (fault.status === 401) keyWanted.value = true;
  throw fault;
}

async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await request(path, signal ? { signal } : {})).json() as Promise<T>;
}

async function post(path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
  const init: RequestInit = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  return request(path, signal ? { ...init, signal } : init);
}

const query = (values: Record<string, string | number | undefined>) => {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== "");
  return given.length === 0 ? "" : "?" + new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
};

export const session = () => get<Session>("/v1/session");
export const models = async (): Promise<Model[]> => (await get<ModelList>("/v1/models")).data;

export const catalogEntry = (drg: number, grouper: string) => get<DrgEntry>(`/v1/catalog/${drg}${query({ grouper })}`);
export const catalogSearch = (q: string, grouper: string, limit: number, signal: AbortSignal) =>
  get<DrgList>(`/v1/catalog${query({ q, grouper, limit })}`, signal);

export const codeNote = async (note: DrgRequest, signal: AbortSignal): Promise<DrgRecord> =>
  (await post("/v1/drg", note, signal)).json() as Promise<DrgRecord>;

/** As codeNote, telling the reasoning while it is written. */
export async function codeNoteStreamed(
  note: DrgRequest, onReasoning: (delta: string) => void, signal: AbortSignal,
): Promise<DrgRecord> {
  const response = await post("/v1/drg", { ...note, stream: true }, signal);
  for await (const event of readEvents(response)) {
    if (event.name === "reasoning") onReasoning((event.data as { delta: string }).delta);
    else if (event.name === "record") return event.data as DrgRecord;
    else if (event.name === "error") {
      const { error } = event.data as Fault;
      throw new ServerFault(200, error.code, error.message, error.hint, 0);
    }
  }
  throw new ServerFault(0, "cut_off", "the answer broke off before its end", "Try again.", 0);
}

export interface BatchChoice {
  contentType: string;
  k?: number;
  model?: string;
}

export const startBatch = async (file: Blob, { contentType, ...choice }: BatchChoice): Promise<BatchJob> =>
  (await request(`/v1/drg/batch${query({ ...choice })}`, { method: "POST", headers: { "Content-Type": contentType }, body: file }))
    .json() as Promise<BatchJob>;
export const batchJobs = async (): Promise<BatchJob[]> => (await get<JobList>("/v1/drg/batch")).jobs;
export const deleteBatch = async (job: string): Promise<void> => void (await request(`/v1/drg/batch/${job}`, { method: "DELETE" }));

export async function* batchEvents(job: string, signal: AbortSignal): AsyncGenerator<ServerEvent> {
  yield* readEvents(await request(`/v1/drg/batch/${job}/events`, { signal }));
}

/** A note that could not be coded has an error in place of a record. */
export type BatchLine = DrgRecord | { id: string; row: number; error: unknown };

export async function batchResult(job: string, from: number): Promise<BatchLine[]> {
  const text = await (await request(`/v1/drg/batch/${job}/result${query({ from })}`)).text();
  return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as BatchLine);
}

export const sendReview = async (review: ReviewRequest): Promise<Review> =>
  (await post("/v1/reviews", review)).json() as Promise<Review>;
export const reviews = (choice: { limit?: number; offset?: number; prediction?: number; reviewer?: string }) =>
  get<ReviewList>(`/v1/reviews${query(choice)}`);

export const sendRating = async (rating: RatingRequest): Promise<Rating> =>
  (await post("/v1/ratings", rating)).json() as Promise<Rating>;
export const ratings = (choice: { limit?: number; offset?: number; prediction?: number; rater?: string }) =>
  get<RatingList>(`/v1/ratings${query(choice)}`);
export const agreement = () => get<Agreement>("/v1/ratings/agreement");

export const dashboard = () => get<Dashboard>("/v1/dashboard");
export const storedNote = (noteSha256: string) => get<Note>(`/v1/notes/${noteSha256}`);

/** Fetches a file with the key and hands it to the browser to be saved: a plain link could not carry the key. */
export async function download(path: string, name: string): Promise<void> {
  saveFile(await (await request(path)).blob(), name);
}

export function saveFile(content: Blob, name: string): void {
  const address = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
