/* A generative model in front of the real server, as long as no small one is at hand that writes sense: it passes
 * everything through, but says of the model that it generates, writes a reasoning piece by piece when the test lets it,
 * and keeps the ratings of such answers itself. */
import { createServer, request, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export const REASONING = [
  "The reason for admission is acute on chronic systolic heart failure. ",
  "Acute kidney injury on chronic kidney disease is a CC; ",
  "no MCC is documented.",
];

export const AGREEMENT = {
  ratings: 8, answers: 4, raters: ["one", "two"],
  helpfulness: { mean: 3.875, deviation: 0.83, counts: [0, 0, 3, 3, 2] },
  accuracy: { mean: 4.5, deviation: 0.53, counts: [0, 0, 0, 4, 4] },
  pairs: {
    helpfulness: [{ raters: ["one", "two"], shared: 4, kappa_linear: 0.5, kappa_quadratic: 0.71, exact: 0.5 }],
    accuracy: [{ raters: ["one", "two"], shared: 4, kappa_linear: null, kappa_quadratic: null, exact: 1 }],
  },
};

interface Rating {
  prediction: number;
  helpfulness: number;
  accuracy: number;
  comment?: string;
}

export interface Writer {
  url: string;
  next: () => void; // lets the next piece be written
  rated: Rating[];
  close: () => Promise<void>;
}

async function bodyOf(message: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of message) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

export async function startWriter(behind: string): Promise<Writer> {
  const rated: Rating[] = [];
  const waiting: (() => void)[] = [];
  let allowed = 0;
  const permission = () => new Promise<void>((resolve) => {
    if (allowed > 0) {
      allowed--;
      resolve();
    } else waiting.push(resolve);
  });

  const ask = (message: IncomingMessage, body: Buffer) => new Promise<IncomingMessage>((resolve, reject) => {
    const { host: _host, origin: _origin, ...headers } = message.headers;
    const forwarded = request(behind + message.url, { method: message.method!, headers: { ...headers, "content-length": String(body.length) } }, resolve);
    forwarded.on("error", reject);
    forwarded.end(body);
  });
  const json = (response: ServerResponse, value: unknown, status = 200) => {
    response.writeHead(status, { "Content-Type": "application/json" });
    response.end(JSON.stringify(value));
  };
  const kept = (rating: Rating, index: number) => ({
    rating: index + 1, time: "2026-11-25T20:15:00.000Z", rater: "one", note_id: "", note_sha256: "", model: "writer", comment: "", ...rating,
  });

  const answer = async (message: IncomingMessage, response: ServerResponse) => {
    const body = await bodyOf(message);
    const path = message.url!.replace(/\?.*/, "");
    if (path === "/v1/ratings/agreement") return json(response, AGREEMENT);
    if (path === "/v1/ratings" && message.method === "POST") {
      rated.push(JSON.parse(body.toString()) as Rating);
      return json(response, kept(rated.at(-1)!, rated.length - 1), 201);
    }
    if (path === "/v1/ratings") return json(response, { total: rated.length, ratings: rated.map(kept).reverse() });
    if (path === "/v1/models") {
      const list = JSON.parse((await bodyOf(await ask(message, body))).toString()) as { data: object[] };
      return json(response, { ...list, data: list.data.map((model) => ({ ...model, task: "generate", evidence: false })) });
    }
    const streamed = path === "/v1/drg" && (JSON.parse(body.toString()) as { stream?: boolean }).stream;
    if (!streamed) {
      const real = await ask(message, body);
      response.writeHead(real.statusCode!, real.headers);
      return real.pipe(response);
    }
    const { stream: _stream, evidence: _evidence, ...asked } = JSON.parse(body.toString()) as Record<string, unknown>;
    const record = JSON.parse((await bodyOf(await ask(message, Buffer.from(JSON.stringify(asked))))).toString()) as object;
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    for (const delta of REASONING) {
      await permission();
      response.write(`event: reasoning\ndata: ${JSON.stringify({ delta })}\n\n`);
    }
    await permission();
    response.end(`event: record\ndata: ${JSON.stringify({ ...record, reasoning: REASONING.join("") })}\n\n`);
  };

  const server = createServer((message, response) => void answer(message, response).catch(() => response.destroy()));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    next: () => {
      const first = waiting.shift();
      if (first) first();
      else allowed++;
    },
    rated,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
