// A Bull Board over queues: node board.mjs QUEUE... on a free port of 127.0.0.1. Its own BullMQ is the one of BULLMQ=5|6.
// It holds each of its answers against its own schemas, so a field that it cannot show is a 500 which says so.
// Events: ready {port}, error.
import Module, { createRequire } from "node:module";
import { serve } from "@hono/node-server";
import { serveStatic } from "@hono/node-server/serve-static";
import { Queue, closeOnTerm, connection, prefix, print, version } from "./bullmq.mjs";

// The board asks for `bullmq`; here that name stands for the version under test.
const resolve = Module._resolveFilename;
Module._resolveFilename = (name, ...rest) => resolve.call(Module, name === "bullmq" ? `bullmq${version}` : name, ...rest);
const require = createRequire(import.meta.url);
const { createBullBoard } = require("@bull-board/api");
const { BullMQAdapter } = require("@bull-board/api/bullMQAdapter");
const { HonoAdapter } = require("@bull-board/hono");

const queues = process.argv.slice(2).map((name) => new Queue(name, { connection: connection(), prefix }));
for (const queue of queues) queue.on("error", (error) => print("error", { reason: error.message }));
await Promise.all(queues.map((queue) => queue.waitUntilReady()));

const serverAdapter = new HonoAdapter(serveStatic);
createBullBoard({ queues: queues.map((queue) => new BullMQAdapter(queue)), serverAdapter, options: { validateResponses: true } });
const server = serve({ fetch: serverAdapter.registerPlugin().fetch, hostname: "127.0.0.1", port: 0 }, ({ port }) => print("ready", { port }));

closeOnTerm({ close: () => server.close() }, ...queues);
