// A BullMQ worker that does nothing, as fast as it can: node noop_worker.mjs QUEUE CONCURRENCY
import { createRequire } from "node:module";

const require = createRequire(new URL("../interop/package.json", import.meta.url));
const { Worker } = require(`bullmq${process.env.BULLMQ ?? "6"}`);
const [queue, concurrency] = process.argv.slice(2);
const { hostname, port } = new URL(process.env.REDIS_URL);
const worker = new Worker(queue, async () => null, {
  connection: { host: hostname, port: Number(port) },
  concurrency: Number(concurrency),
});
worker.on("error", (error) => console.error(error));
process.on("SIGTERM", async () => {
  await worker.close();
  process.exit(0);
});
