// A Node worker: node worker.mjs QUEUE. Its result names it, so that a test sees who ran a job.
//   env BULLMQ, REDIS_URL, PREFIX, CONCURRENCY; WORKER_OPTIONS: more options, as JSON
//   job.data.fail    throw an error with this text
//   job.data.sleep   milliseconds to take
// Events: ready, active, completed, failed, stalled, error, closed. A message {"do": "pause"|"resume"|"close"} steers it.
import { UnrecoverableError, Worker, closeOnTerm, connection, messages, prefix, print } from "./bullmq.mjs";

const [queue] = process.argv.slice(2);

async function process_(job) {
  if (job.data?.sleep) await new Promise((done) => setTimeout(done, job.data.sleep));
  if (job.data?.unrecoverable) throw new UnrecoverableError(job.data.unrecoverable);
  if (job.data?.fail) throw new Error(job.data.fail);
  return { echo: job.data, by: "node" };
}

const worker = new Worker(queue, process_, {
  connection: connection(),
  prefix,
  concurrency: Number(process.env.CONCURRENCY ?? 1),
  ...JSON.parse(process.env.WORKER_OPTIONS ?? "{}"),
});

const about = (job) => ({ id: job?.id, name: job?.name, attemptsMade: job?.attemptsMade });
worker.on("active", (job) => print("active", about(job)));
worker.on("completed", (job, result) => print("completed", { ...about(job), result }));
worker.on("failed", (job, error) => print("failed", { ...about(job), reason: error.message }));
worker.on("stalled", (id) => print("stalled", { id }));
worker.on("error", (error) => print("error", { reason: error.message }));
worker.on("closed", () => print("closed"));
closeOnTerm(worker);

await worker.waitUntilReady();
print("ready");

for await (const message of messages()) {
  if (message.do === "pause") await worker.pause();
  if (message.do === "resume") worker.resume();
  if (message.do === "close") {
    await worker.close();
    process.exit(0);
  }
}
