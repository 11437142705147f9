// Add jobs: node producer.mjs QUEUE [bulk|single] < jobs.json, an array of {name, data, opts}.
// Prints one line, the ids in order: {"event": "added", "ids": [...]}.
import { Queue, connection, prefix, print, readAll } from "./bullmq.mjs";

const [name, how = "bulk"] = process.argv.slice(2);
const jobs = JSON.parse(await readAll(process.stdin));
const queue = new Queue(name, { connection: connection(), prefix });

let added = [];
if (how === "single") {
  // One after another, so that their order is theirs.
  for (const job of jobs) added.push(await queue.add(job.name, job.data, job.opts));
} else {
  added = await queue.addBulk(jobs);
}
print("added", { ids: added.map((job) => job.id) });
await queue.close();
