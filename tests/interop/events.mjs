// Listen to a queue's events from the very first: node events.mjs QUEUE.
// Prints {"event": "ready"}, then each event under its own name, with its fields and its stream id as `at`.
import { QueueEvents, closeOnTerm, connection, prefix, print } from "./bullmq.mjs";

const [queue] = process.argv.slice(2);
const events = new QueueEvents(queue, {
  connection: connection(),
  prefix,
  lastEventId: "0",
  autorun: false,
});

// Every event passes through emit, also the ones this script does not know by name.
const emit = events.emit.bind(events);
const ours = new Set(["ioredis:close", "ready", "error", "newListener", "removeListener"]);
events.emit = (name, fields, at) => {
  if (!ours.has(name) && typeof fields === "object") print(name, { ...fields, at });
  return emit(name, fields, at);
};
events.on("error", (error) => print("error", { reason: error.message }));
closeOnTerm(events);

await events.waitUntilReady();
print("ready");
await events.run();
