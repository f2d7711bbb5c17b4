/* What the page knows of its server: who the key makes us, the limits, the models; and which model is used. */
import { computed, signal } from "@preact/signals";
import * as server from "./client";
import { ServerFault } from "./client";
import type { Model, Session } from "./contract";

export const session = signal<Session | null>(null);
export const models = signal<Model[]>([]);
export const modelId = signal("");
export const connectionFault = signal<string | null>(null);

/** The model that codes notes, chosen or first. */
export const model = computed<Model | null>(() => {
  const able = models.value.filter((candidate) => candidate.codes_notes);
  return able.find((candidate) => candidate.id === modelId.value) ?? able[0] ?? null;
});

/** Whether the key may review: roles review and admin. */
export const mayReview = computed(() => session.value !== null && ["review", "admin"].includes(session.value.role));

async function ask(): Promise<void> {
  try {
    session.value = await server.session();
    if (session.value.keys_required && session.value.role === "") {
      server.keyWanted.value = true;
      return;
    }
    models.value = await server.models();
    connectionFault.value = null;
  } catch (error) {
    connectionFault.value = faultText(error);
  }
}

let asked: Promise<void> | null = null;

/** Asks the server anew who we are and what it has; where it wants a key, the dialog for it opens by itself. */
export const connect = (): Promise<void> => (asked = ask());

/** Resolves once the server was asked: what is sent before would not know which model it is for. */
export const connected = (): Promise<void> => asked ?? connect();

/** One line for a person: what went wrong, and what helps. */
export function faultText(error: unknown): string {
  if (!(error instanceof ServerFault)) return error instanceof Error ? error.message : String(error);
  const wait = error.retryAfter > 0 ? ` Try again in ${error.retryAfter} s.` : "";
  const sentence = error.message.charAt(0).toUpperCase() + error.message.slice(1);
  return `${sentence}${/[.!?]$/.test(sentence) ? "" : "."}${error.hint ? " " + error.hint : ""}${wait}`;
}
