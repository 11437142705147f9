// Lines [pattern, tz, ms] in; for each the next time, epoch ms, as the parser of BULLMQ=5|6 has it, or null.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const home = new URL(process.env.BULLMQ === "5" ? "node_modules/" : "node_modules/bullmq6/", import.meta.url);
const parser = createRequire(new URL("here.js", home))("cron-parser");
const parse = parser.CronExpressionParser?.parse.bind(parser.CronExpressionParser) ?? parser.parseExpression;

for await (const line of createInterface({ input: process.stdin })) {
  const [pattern, tz, ms] = JSON.parse(line);
  try {
    console.log(parse(pattern, { tz: tz ?? undefined, currentDate: new Date(ms) }).next().getTime());
  } catch {
    console.log("null");
  }
}
