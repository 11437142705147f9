// What every script here shares: the BullMQ chosen by BULLMQ=5|6, where Redis is, and JSON lines in and out.
import { createInterface } from "node:readline";

export const version = process.env.BULLMQ ?? "6";
export const { Queue, Worker, QueueEvents, QueueEventsProducer, FlowProducer, UnrecoverableError, DelayedError, WaitingChildrenError, WaitingError, RateLimitError } =
  await import(`bullmq${version}`);

export const prefix = process.env.PREFIX ?? "bull";

// A plain object, so that each BullMQ makes its connections with its own ioredis.
export function connection() {
  const url = new URL(process.env.REDIS_URL ?? "redis://127.0.0.1:6379/0");
  return {
    host: url.hostname,
    port: Number(url.port || 6379),
    db: Number(url.pathname.slice(1) || 0),
    ...(url.username && { username: decodeURIComponent(url.username) }),
    ...(url.password && { password: decodeURIComponent(url.password) }),
    ...(url.protocol === "rediss:" && { tls: {} }),
    maxRetriesPerRequest: null,
  };
}

export function print(event, fields = {}) {
  process.stdout.write(JSON.stringify({ ...fields, event }) + "\n");
}

// The messages a test sends, one JSON line each.
export async function* messages() {
  for await (const line of createInterface({ input: process.stdin })) {
    if (line) yield JSON.parse(line);
  }
}

export async function readAll(stream) {
  let text = "";
  for await (const chunk of stream) text += chunk;
  return text;
}

// Close in order on SIGTERM, as a service would.
export function closeOnTerm(...parts) {
  process.once("SIGTERM", async () => {
    for (const part of parts) await part.close();
    process.exit(0);
  });
}
