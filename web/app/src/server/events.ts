/* Server-sent events read from a fetch, since EventSource can carry neither a key nor a body. Fields as in the HTML
 * standard, section 9.2; data is JSON. */

export interface ServerEvent {
  name: string;
  data: unknown;
}

/** Takes pieces of a stream in any cut and gives the events that have become whole. */
export class EventReader {
  private rest = "";
  private name = "";
  private data: string[] = [];

  take(piece: string): ServerEvent[] {
    const events: ServerEvent[] = [];
    const lines = (this.rest + piece).split("\n");
    this.rest = lines.pop()!;
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line === "") {
        if (this.data.length > 0) events.push({ name: this.name || "message", data: JSON.parse(this.data.join("\n")) });
        this.name = "";
        this.data = [];
        continue;
      }
      const colon = line.indexOf(":");
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "event") this.name = value;
      else if (field === "data") this.data.push(value);
    }
    return events;
  }
}

export async function* readEvents(response: Response): AsyncGenerator<ServerEvent> {
  const reader = response.body!.getReader();
  const decoder = new TextDecoder();
  const events = new EventReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      for (const event of events.take(decoder.decode(value, { stream: true }))) yield event;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
