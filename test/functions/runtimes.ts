import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { CloudEvent, HTTP } from 'cloudevents';
import { type BrokerRecord, isWatermarkKey } from '../../contract/click-event.ts';
import { kafkaEvent, kinesisEvent, PARTITIONS, TOPIC } from '../../emulators/lambda/events.ts';
import { startLambda } from '../../emulators/lambda/runtime.ts';
import { ricIsMissing } from '../../emulators/lambda/runtime-client.ts';
import { startOpenwhisk } from '../../emulators/openwhisk/runtime.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { until } from '../support/until.ts';

export { kafkaEvent, kinesisEvent, PARTITIONS, TOPIC } from '../../emulators/lambda/events.ts';

/** The result of a delivery: how many records, from the first on, the platform considers settled, and the response. */
export type CallResult = { readonly settled: number; readonly message: string };

/** A function in the runtime of its platform. */
export type Runtime = {
  readonly submit: (records: readonly BrokerRecord[], deadlineMs?: number) => Promise<CallResult>;
  /** Calls it with any event. */
  readonly send: (event: unknown) => Promise<CallResult>;
  readonly pid: () => number;
  /** Suspends its process as the platform does between two calls; the next call resumes it. */
  readonly freeze: () => Promise<void>;
  /** Its output. */
  readonly logs: () => string;
  readonly stop: () => Promise<void>;
};

export type RuntimeKind = {
  readonly name: string;
  /** What retries unsettled records. With `none`, another processor must read them. */
  readonly again: 'platform' | 'sender' | 'none';
  /** Whether a call sets the deadline; otherwise it is `REQUEST_TIMEOUT_MS`. */
  readonly hasDeadline: boolean;
  readonly missing: () => Promise<string | null>;
  /** Starts the bundle `<root>/<name>`. */
  readonly start: (root: string, env: Readonly<Record<string, string>>) => Promise<Runtime>;
};

/** Default deadline of a call, in ms. */
const DEADLINE_MS = 30_000;
export const REQUEST_TIMEOUT_MS = 3_000;

/** The number of settled records of a Kinesis event, from a partial batch response as Lambda interprets it. */
function kinesisDone(count: number, response: unknown): number {
  const { batchItemFailures: failures } = response as {
    batchItemFailures: { itemIdentifier: string }[] | null;
  };
  if (!failures || failures.length === 0) return count;
  const indexes = failures.map(({ itemIdentifier }) => Number(itemIdentifier.slice(-4)));
  // With an unknown identifier the whole event counts as failed.
  return Math.max(0, indexes.some((index) => !(index < count)) ? 0 : Math.min(...indexes));
}

function kafkaDone(count: number, response: unknown): number {
  const { batchItemFailures: failures } = response as {
    batchItemFailures: { itemIdentifier: { partition: string; offset: number } }[] | null;
  };
  if (!failures || failures.length === 0) return count;
  const half = Math.ceil(count / PARTITIONS);
  const open = failures.map(({ itemIdentifier: { partition, offset } }) => {
    const number = Number(partition.replace(`${TOPIC}-`, ''));
    const index = number * half + offset - 1_000;
    return Number.isInteger(index) && index < count ? index : 0;
  });
  return Math.min(...open);
}

function lambda(
  name: string,
  eventOf: (records: readonly BrokerRecord[]) => unknown,
  doneOf: (count: number, response: unknown) => number,
): RuntimeKind {
  return {
    name,
    again: 'platform',
    hasDeadline: true,
    missing: ricIsMissing,
    start: async (root, env) => {
      const running = await startLambda({
        folder: join(root, name),
        env,
        functionName: name,
        memoryMegabytes: 256,
      });
      const call = async (event: unknown, count: number, deadlineMs: number): Promise<CallResult> => {
        const result = await running.invoke(event, { deadlineMs });
        if ('error' in result) return { settled: 0, message: result.error.errorMessage };
        return { settled: doneOf(count, result.answer), message: JSON.stringify(result.answer) };
      };
      return {
        submit: (records, deadlineMs = DEADLINE_MS) => call(eventOf(records), records.length, deadlineMs),
        send: (event) => call(event, 1, DEADLINE_MS),
        pid: running.pid,
        freeze: running.freeze,
        logs: running.logs,
        stop: running.stop,
      };
    },
  };
}

const openwhisk: RuntimeKind = {
  name: 'openwhisk',
  again: 'none',
  hasDeadline: true,
  missing: async () => null,
  start: async (root, env) => {
    // The settings are parameters bound to the action.
    const running = await startOpenwhisk({ zip: join(root, 'openwhisk.zip'), params: env });
    const call = async (params: Record<string, unknown>, timeoutMs: number): Promise<CallResult> => {
      running.resume();
      const answer = await running.run(params, { timeoutMs });
      if (!answer.ok) return { settled: 0, message: JSON.stringify(answer.error) };
      const { settled } = answer.result as { settled: number };
      return { settled, message: JSON.stringify(answer.result) };
    };
    return {
      submit: (records, deadlineMs = DEADLINE_MS) =>
        call(
          {
            messages: records.map(({ key, value }, offset) => ({
              topic: TOPIC,
              partition: 0,
              offset,
              key,
              value: value?.toString() ?? null,
            })),
          },
          deadlineMs,
        ),
      send: (event) => call(event as Record<string, unknown>, DEADLINE_MS),
      pid: () => running.pid,
      freeze: async () => running.pause(),
      logs: () => {
        const { stdout, stderr } = running.logs();
        return stdout + stderr;
      },
      stop: running.stop,
    };
  },
};

/** A record as a CloudEvent, in the form of Knative's Kafka source. */
export function cloudEventOf({ key, value }: BrokerRecord, index = 0): CloudEvent<Buffer> {
  return new CloudEvent({
    id: key ?? `partition:0/offset:${index}`,
    source: '/tollway/ad-server',
    type: isWatermarkKey(key) ? 'tollway.watermark' : 'tollway.click',
    ...(value === null ? {} : { data: value }),
  });
}

/** Starts the CloudEvents function as a process, and returns its URL. */
export async function startCloudEvent(
  root: string,
  env: Readonly<Record<string, string>>,
): Promise<Runtime & { readonly url: string }> {
  const [port = 0] = await freePorts(1);
  const child: ChildProcess = spawn(process.execPath, [join(root, 'cloud-event', 'index.mjs')], {
    env: { PORT: String(port), REQUEST_TIMEOUT_MS: String(REQUEST_TIMEOUT_MS), ...env },
    // The IPC channel ends it when this process ends.
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  let logs = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (data) => (logs += data));
  let hasEnded = false;
  const ended = once(child, 'exit').then(() => {
    hasEnded = true;
  });
  const url = `http://127.0.0.1:${port}/`;
  // With invalid settings the process ends and accepts no requests.
  await until('the function to listen', () =>
    fetch(`${url}healthz`).then(
      ({ status }) => status === 200,
      () => hasEnded,
    ),
  );
  const post = async (
    body: string | Uint8Array<ArrayBuffer>,
    headers: Record<string, string>,
    count: number,
  ): Promise<CallResult> => {
    if (hasEnded) return { settled: 0, message: logs };
    child.kill('SIGCONT');
    const response = await fetch(url, { method: 'POST', body, headers });
    const message = `${response.status} ${await response.text()}`;
    // The sender retries only after 5xx.
    return { settled: response.status < 500 ? count : 0, message };
  };
  return {
    url,
    submit: (records) => {
      const [only] = records;
      if (records.length === 1 && only) {
        const { headers, body } = HTTP.binary(cloudEventOf(only));
        return post(body as string, headers as Record<string, string>, 1);
      }
      const batch = records.map((record, index) => {
        const { data, ...attributes } = cloudEventOf(record, index).toJSON() as Record<string, unknown>;
        return { ...attributes, data_base64: record.value?.toString('base64') };
      });
      const headers = { 'content-type': 'application/cloudevents-batch+json' };
      return post(JSON.stringify(batch), headers, records.length);
    },
    send: (event) => post(JSON.stringify(event), { 'content-type': 'application/json' }, 1),
    pid: () => child.pid ?? 0,
    freeze: async () => void child.kill('SIGSTOP'),
    logs: () => logs,
    stop: async () => {
      child.kill('SIGCONT');
      child.kill('SIGTERM');
      await ended;
    },
  };
}

const cloudEvent: RuntimeKind = {
  name: 'cloud-event',
  again: 'sender',
  hasDeadline: false,
  missing: async () => null,
  start: startCloudEvent,
};

export const runtimeKinds: readonly RuntimeKind[] = [
  lambda('lambda-kinesis', kinesisEvent, kinesisDone),
  lambda('lambda-kafka', kafkaEvent, kafkaDone),
  openwhisk,
  cloudEvent,
];
