// One Node process that does what a test tells it, over many queues: JSON lines in, {call, value} or {call, failure} out.
//   {do: "queue", queue, method, args}   a method of a Queue
//   {do: "add", queue, jobs}             jobs {name, data, opts} one after another; their ids
//   {do: "job", queue, id, method, args} a method of a Job
//   {do: "read", queue, id}              a Job as this BullMQ reads it, with its state
//   {do: "flow", tree}                   FlowProducer.add; the root's id
//   {do: "work", queues, options}        a Worker on each; what a job asks for, see `run`
//   {do: "rest"}                         close all workers
//   {do: "listen", queue}                QueueEvents from the first event; each is printed as {event: "heard", queue, name, fields}
//   {do: "listening", queue}             whether its loop still runs
import { FlowProducer, Queue, QueueEvents, UnrecoverableError, Worker, closeOnTerm, connection, messages, prefix, print } from "./bullmq.mjs";

const options = { connection: connection(), prefix };
const queues = new Map();
const listeners = new Map();
let workers = [];

const queue = (name) => {
  if (!queues.has(name)) queues.set(name, new Queue(name, options));
  return queues.get(name);
};

// The same wishes as Corral's worker of these tests grants.
async function run(job) {
  const { sleep, progress, log, failFirst, fail, unrecoverable } = job.data ?? {};
  if (sleep) await new Promise((done) => setTimeout(done, sleep));
  if (progress !== undefined) await job.updateProgress(progress);
  if (log) await job.log(log);
  if (unrecoverable) throw new UnrecoverableError(unrecoverable);
  if (fail) throw new Error(fail);
  if (failFirst && job.attemptsMade < failFirst) throw new Error(`attempt ${job.attemptsMade + 1}`);
  return { echo: job.data, by: "node" };
}

const deeds = {
  queue: ({ queue: name, method, args = [] }) => queue(name)[method](...args),
  async add({ queue: name, jobs }) {
    const ids = [];
    for (const job of jobs) ids.push((await queue(name).add(job.name, job.data, job.opts)).id);
    return ids;
  },
  job: async ({ queue: name, id, method, args = [] }) => (await queue(name).getJob(id))[method](...args),
  async read({ queue: name, id }) {
    const job = await queue(name).getJob(id);
    if (!job) return null;
    const { data, opts, progress, returnvalue, failedReason, attemptsMade, processedBy, stacktrace, delay, priority } = job;
    return {
      id: job.id, name: job.name, state: await job.getState(), data, opts, progress, returnvalue, failedReason,
      attemptsMade, processedBy, stacktrace, delay, priority,
      times: [job.timestamp, job.processedOn, job.finishedOn],
    };
  },
  async flow({ tree }) {
    const flows = new FlowProducer(options);
    const { job } = await flows.add(tree);
    await flows.close();
    return job.id;
  },
  async work({ queues: names, options: more = {} }) {
    const fresh = names.map((name) => new Worker(name, run, { ...options, ...more }));
    workers.push(...fresh);
    for (const worker of fresh) worker.on("error", (error) => print("error", { reason: error.message }));
    await Promise.all(fresh.map((worker) => worker.waitUntilReady()));
  },
  async rest() {
    await Promise.all(workers.map((worker) => worker.close()));
    workers = [];
  },
  async listen({ queue: name }) {
    const events = new QueueEvents(name, { ...options, lastEventId: "0", autorun: false });
    listeners.set(name, events);
    // Every event passes through emit, also the ones nobody knows by name: with its fields and its id, or (drained) its id.
    const emit = events.emit.bind(events);
    events.emit = (event, fields, at) => {
      const id = at ?? fields;
      if (/^\d+-\d+$/.test(id)) print("heard", { queue: name, name: event, fields: at ? fields : {} });
      return emit(event, fields, at);
    };
    events.on("error", (error) => print("error", { reason: error.message }));
    await events.waitUntilReady();
    events.run().catch((error) => print("died", { queue: name, reason: error.message }));
  },
  listening: ({ queue: name }) => listeners.get(name).running,
};

closeOnTerm({
  async close() {
    await deeds.rest();
    for (const part of [...queues.values(), ...listeners.values()]) await part.close();
  },
});

print("ready");
for await (const message of messages()) {
  // Not awaited: calls may overlap, as those of a service do.
  Promise.resolve()
    .then(() => deeds[message.do](message))
    .then((value) => print("answer", { call: message.call, value: value ?? null }))
    .catch((error) => print("answer", { call: message.call, failure: String(error?.message ?? error) }));
}
