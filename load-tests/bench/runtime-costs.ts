import { formatLinkKeys, type LinkKey } from '../../common/config/link-keys.ts';
import { sleep } from '../../common/process.ts';
import type { BrokerRecord } from '../../contract/click-event.ts';
import { createSigner, evergreenLink } from '../../contract/link-token.ts';
import { kinesisEvent, TOPIC } from '../../emulators/lambda/events.ts';
import { startLambda } from '../../emulators/lambda/runtime.ts';
import { startOpenwhisk } from '../../emulators/openwhisk/runtime.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { BROWSER_HEADERS } from '../load/traffic.ts';
import type { Bench, BenchContext } from './bench.ts';
import { buildFunctions, functionFolder } from './built-functions.ts';
import { makeRecords } from './charge-data.ts';
import { ADVERTISERS, type FunctionDatabase, openFunctionDatabase } from './function-database.ts';
import { processMicros } from './process-cpu.ts';
import { type BenchResult, compareRounds, median } from './result.ts';

const KEY: LinkKey = { id: 'bench', state: 'signs', secret: Buffer.alloc(32, 'bench') };
/** Memory of the functions in `deploy/functions.json`, in MB. */
const MEMORY_MEGABYTES = 512;
const WARM_UP_CALLS = 20;
const START_MS_MAX = 10_000;

/** A warm function, and a call that charges clicks with it. */
type WarmRuntime = {
  readonly name: string;
  readonly pid: number;
  readonly call: (records: readonly BrokerRecord[]) => Promise<void>;
};

/**
 * Measures the cost of a click in each warm runtime: wall time, which Lambda and OpenWhisk bill, and CPU time, which Knative's machines provide.
 * The rows have no bar. They are the source of the prices in docs/deployment-targets.md.
 */
export const benchRuntimes: Bench = async (context) => {
  await buildFunctions(context);
  const database = await openFunctionDatabase(context);
  const results: BenchResult[] = [];
  let charged = 0;
  const measure = async (runtime: WarmRuntime, clicks: number, calls: number) => {
    results.push(await cost(runtime, clicks, calls, context));
    charged += (WARM_UP_CALLS + calls) * clicks;
  };
  const kinesis = await lambdaKinesis(database, context);
  await measure(kinesis, 100, 200);
  await measure(kinesis, 1_000, 100);
  await measure(kinesis, 5_000, 20);
  await measure(await openwhisk(database, context), 500, 100);
  const events = await cloudEvent(database, context);
  await measure(events, 1, 2_000);
  await measure(events, 100, 200);
  await database.assertBalanced(charged);
  // Not part of the reconciliation above, because redirects only publish clicks.
  results.push(await cost(await lambdaRedirect(database, context), 1, 2_000, context));
  return results;
};

async function cost(
  { name, pid, call }: WarmRuntime,
  clicks: number,
  calls: number,
  { progress }: BenchContext,
): Promise<BenchResult> {
  progress.show(`runtimes: ${name}, ${clicks} clicks per call`);
  const wallMs: number[] = [];
  let cpuMsAtStart = 0;
  for (let at = 0; at < WARM_UP_CALLS + calls; at += 1) {
    if (at === WARM_UP_CALLS) cpuMsAtStart = processMicros(pid) / 1_000;
    const records = makeRecords(clicks, ADVERTISERS, 'evergreen');
    const startedAt = performance.now();
    await call(records);
    if (at >= WARM_UP_CALLS) wallMs.push(performance.now() - startedAt);
  }
  const cpuMs = (processMicros(pid) / 1_000 - cpuMsAtStart) / calls;
  const thousands = clicks / 1_000;
  const rounds = [{ ours: median(wallMs) / thousands, reference: cpuMs / thousands }];
  return compareRounds(`runtime-${name}-${clicks}`, 'ms/1000 clicks', null, rounds, [
    `wall time, with the CPU time of the function as reference; ${calls} sequential calls with ${clicks} clicks, ` +
      `median ${median(wallMs).toFixed(2)} ms per call`,
  ]);
}

async function warmLambda(
  name: string,
  env: Readonly<Record<string, string>>,
  eventOf: (records: readonly BrokerRecord[]) => unknown,
  { resources }: BenchContext,
): Promise<WarmRuntime> {
  const lambda = await startLambda({
    folder: functionFolder(name),
    functionName: name,
    memoryMegabytes: MEMORY_MEGABYTES,
    env,
  });
  resources.add({ name, close: lambda.stop });
  const call = async (records: readonly BrokerRecord[]) => {
    const result = await lambda.invoke(eventOf(records));
    if ('error' in result) throw new Error(`${name}: ${result.error.errorMessage}`);
    const { statusCode = 302 } = result.answer as { statusCode?: number };
    if (statusCode !== 302) throw new Error(`${name}: expected a redirect, got status ${statusCode}`);
  };
  return { name, pid: lambda.pid(), call };
}

function lambdaKinesis({ url }: FunctionDatabase, context: BenchContext): Promise<WarmRuntime> {
  return warmLambda('lambda-kinesis', { DATABASE_URL: url }, kinesisEvent, context);
}

/** The redirect function with one click per call, which it publishes to PostgreSQL. https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html */
function lambdaRedirect({ url }: FunctionDatabase, context: BenchContext): Promise<WarmRuntime> {
  const sign = createSigner([KEY]);
  let adId = 0;
  const env = {
    DATABASE_URL: url,
    BROKER: 'postgres',
    LINK_KEYS: formatLinkKeys([KEY]),
    DOUBLE_CLICK_MS: '0',
  };
  const eventOf = () => {
    adId = (adId % ADVERTISERS) + 1;
    const path = `/c/${sign(evergreenLink(adId))}`;
    return {
      version: '2.0',
      routeKey: '$default',
      rawPath: path,
      rawQueryString: '',
      headers: BROWSER_HEADERS,
      requestContext: { http: { method: 'GET', path, sourceIp: '192.0.2.1' }, stage: '$default' },
      isBase64Encoded: false,
    };
  };
  return warmLambda('lambda-redirect', env, eventOf, context);
}

async function openwhisk({ url }: FunctionDatabase, { resources }: BenchContext): Promise<WarmRuntime> {
  const name = 'openwhisk';
  const running = await startOpenwhisk({
    zip: `${functionFolder(name)}.zip`,
    params: { DATABASE_URL: url },
  });
  resources.add({ name, close: running.stop });
  const call = async (records: readonly BrokerRecord[]) => {
    const messages = records.map(({ key, value }, offset) => ({
      topic: TOPIC,
      partition: 0,
      offset,
      key,
      value: String(value),
    }));
    const answer = await running.run({ messages }, { timeoutMs: 60_000 });
    if (!answer.ok) throw new Error(`${name}: ${JSON.stringify(answer.error)}`);
  };
  return { name, pid: running.pid, call };
}

async function cloudEvent({ url }: FunctionDatabase, { resources, env }: BenchContext): Promise<WarmRuntime> {
  const name = 'cloud-event';
  const [port = 0] = await freePorts(1);
  const child = resources.child([process.execPath, `${functionFolder(name)}/index.mjs`], {
    env: { ...env, DATABASE_URL: url, PORT: String(port) },
  });
  const target = `http://127.0.0.1:${port}/`;
  const answers = () =>
    fetch(target).then(
      () => true,
      () => false,
    );
  for (const deadline = performance.now() + START_MS_MAX; !(await answers()); await sleep(20))
    if (performance.now() > deadline) throw new Error(`${name} did not start within ${START_MS_MAX} ms`);
  const call = async (records: readonly BrokerRecord[]) => {
    const events = records.map(({ key, value }) => ({
      specversion: '1.0',
      id: key,
      source: '/tollway/ad-server',
      type: 'tollway.click',
      data_base64: value?.toString('base64'),
    }));
    const one = events.length === 1;
    const kind = one ? 'application/cloudevents+json' : 'application/cloudevents-batch+json';
    const body = JSON.stringify(one ? events[0] : events);
    const response = await fetch(target, { method: 'POST', body, headers: { 'content-type': kind } });
    if (response.status !== 204) throw new Error(`${name}: ${response.status} ${await response.text()}`);
  };
  return { name, pid: child.pid ?? 0, call };
}
