// One Node process that does what a test tells it, over many queues: JSON lines in, {call, value} or {call, failure} out.
//   {do: "queue", queue, method, args}   a method of a Queue
//   {do: "add", queue, jobs}             jobs {name, data, opts} one after another; their ids
//   {do: "job", queue, id, method, args} a method of a Job
//   {do: "read", queue, id}              a Job as this BullMQ reads it, with its state
//   {do: "flow", tree, options}          FlowProducer.add; the root's id
//   {do: "flows", trees}                 FlowProducer.addBulk; the roots' ids
//   {do: "getFlow", options}             FlowProducer.getFlow as {id, name, queue, data, parent, children}
//   {do: "work", queues, options}        a Worker on each; what a job asks for, see `run`
//     (option `strategy`: what its own backoff strategy always says)
//   {do: "rest"}                         close all workers
//   {do: "take", queue, options}         Worker.getNextJob of a worker without a processor; the job's id, or null
//   {do: "held", id, deed, value}        with a job that was taken so: complete, fail or extend
//   {do: "listen", queue}                QueueEvents from the first event; each is printed as {event: "heard", queue, name, fields}
//   {do: "listening", queue}             whether its loop still runs
//   {do: "finished", queue, id, ttl}     Job.waitUntilFinished on a queue that is listened to
//   {do: "publish", queue, event}        QueueEventsProducer.publishEvent
import { DelayedError, FlowProducer, Queue, QueueEvents, QueueEventsProducer, RateLimitError, UnrecoverableError, WaitingChildrenError, WaitingError, Worker, closeOnTerm, connection, messages, prefix, print } from "./bullmq.mjs";

const options = { connection: connection(), prefix };
const queues = new Map();
const listeners = new Map();
const byHand = new Map();
const held = new Map();
let workers = [];

const queue = (name) => {
  if (!queues.has(name)) queues.set(name, new Queue(name, options));
  return queues.get(name);
};

// The same wishes as Corral's worker of these tests grants.
async function run(job, token) {
  await move(job, token);
  const { sleep, progress, log, failFirst, fail, unrecoverable } = job.data ?? {};
  if (sleep) await new Promise((done) => setTimeout(done, sleep));
  if (progress !== undefined) await job.updateProgress(progress);
  if (log) await job.log(log);
  if (unrecoverable) throw new UnrecoverableError(unrecoverable);
  if (fail) throw new Error(fail);
  if (failFirst && job.attemptsMade < failFirst) throw new Error(`attempt ${job.attemptsMade + 1}`);
  return { echo: job.data, by: "node" };
}

// What a job does to itself, on its first start (or, with `always`, on every one).
async function move(job, token) {
  const { delay, back, children, limit, always } = job.data?.move ?? {};
  if (job.attemptsStarted > 1 && !always) {
    if (children && (await job.moveToWaitingChildren(token))) throw new WaitingChildrenError();
    return;
  }
  if (delay) {
    await job.moveToDelayed(Date.now() + delay, token);
    throw new DelayedError();
  }
  if (back) {
    await job.moveToWait(token);
    throw new WaitingError();
  }
  if (children) {
    const parent = { id: job.id, queue: job.queueQualifiedName };
    await queue(children).add("child", { n: 1 }, { parent });
    await queue(children).add("child", { n: 2 }, { parent });
    if (await job.moveToWaitingChildren(token)) throw new WaitingChildrenError();
  }
  if (limit) {
    await queue(job.queueName).rateLimit(limit);
    throw new RateLimitError();
  }
}

async function produced(act) {
  const flows = new FlowProducer(options);
  try {
    return await act(flows);
  } finally {
    await flows.close();
  }
}

const told = (node) =>
  node && {
    id: node.job.id, name: node.job.name, queue: node.job.queueName, data: node.job.data, parent: node.job.parent ?? null,
    children: (node.children ?? []).map(told),
  };

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
  flow: ({ tree, options: more }) => produced(async (flows) => (await flows.add(tree, more)).job.id),
  flows: ({ trees }) => produced(async (flows) => (await flows.addBulk(trees)).map(({ job }) => job.id)),
  getFlow: ({ options: which }) => produced(async (flows) => told(await flows.getFlow(which))),
  async work({ queues: names, options: { strategy, ...more } = {} }) {
    const settings = strategy === undefined ? {} : { settings: { backoffStrategy: () => strategy } };
    const fresh = names.map((name) => new Worker(name, run, { ...options, ...settings, ...more }));
    workers.push(...fresh);
    for (const worker of fresh) worker.on("error", (error) => print("error", { reason: error.message }));
    await Promise.all(fresh.map((worker) => worker.waitUntilReady()));
  },
  async take({ queue: name, options: more = {} }) {
    if (!byHand.has(name)) byHand.set(name, new Worker(name, null, { ...options, ...more, autorun: false }));
    const job = await byHand.get(name).getNextJob(`hand:${name}`);
    if (job) held.set(job.id, job);
    return job?.id;
  },
  async held({ id, deed, value }) {
    const job = held.get(id);
    if (deed === "complete") await job.moveToCompleted(value, job.token, false);
    if (deed === "fail") await job.moveToFailed(new Error(value), job.token, false);
    if (deed === "extend") await job.extendLock(job.token, value);
  },
  async rest() {
    for (const worker of byHand.values()) await worker.close();
    byHand.clear();
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
  finished: async ({ queue: name, id, ttl }) => (await queue(name).getJob(id)).waitUntilFinished(listeners.get(name), ttl),
  async publish({ queue: name, event }) {
    const producer = new QueueEventsProducer(name, options);
    await producer.publishEvent(event);
    await producer.close();
  },
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
