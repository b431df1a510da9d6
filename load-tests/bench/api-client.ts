/**
 * A client of the HTTP API as a process of its own: `node api-client.ts <console URL> <API key> <requests per second>`. It sends pages of
 * lists, reads of one thing, and in every tenth request a link, each when it is due, until it gets a message. Then it waits for the
 * answers, and sends an `ApiLoad` as its message.
 *
 * It has the lowest priority, because the client of an API usually runs on another machine. It has to be in a session of its own.
 */

import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { Pool } from 'undici';
import { sleep } from '../../common/process.ts';

export type ApiLoad = {
  readonly sent: number;
  /** Answers with another status than 200, and requests without an answer. */
  readonly failed: number;
  /** From the time at which a request was sent. */
  readonly p99Ms: number;
};

const { PRIORITY_LOW } = constants.priority;
setPriority(PRIORITY_LOW);
try {
  // Linux shares the CPU evenly between sessions, whatever the priorities of their processes: sched(7).
  writeFileSync('/proc/self/autogroup', String(PRIORITY_LOW));
} catch {
  // The system has no autogroups.
}

const CONNECTIONS = 20;
const READS = [
  ...['/v1/advertisers?limit=20', '/v1/campaigns?limit=20', '/v1/ads?limit=20'],
  ...['/v1/advertisers/1', '/v1/campaigns/1', '/v1/ads/1', '/v1/status'],
];
const TURN_MS = 2;

const [url = '', key, perSecond] = process.argv.slice(2);
const pool = new Pool(url, { connections: CONNECTIONS });
const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
const times: number[] = [];
let failed = 0;

async function send(index: number): Promise<void> {
  const sentAt = performance.now();
  try {
    const answer = await (index % 10 === 9
      ? pool.request({ method: 'POST', path: '/v1/links', headers, body: '{"adId":1}' })
      : pool.request({ method: 'GET', path: READS[index % READS.length] ?? '', headers }));
    await answer.body.dump();
    if (answer.statusCode !== 200) failed += 1;
  } catch {
    failed += 1;
  }
  times.push(performance.now() - sentAt);
}

let stopped = false;
const stop = once(process, 'message').then(() => {
  stopped = true;
});
const pending = new Set<Promise<void>>();
const startedAt = performance.now();
for (let sent = 0; !stopped; await sleep(TURN_MS)) {
  for (const due = ((performance.now() - startedAt) / 1_000) * Number(perSecond); sent < due; sent += 1) {
    const answered: Promise<void> = send(sent).finally(() => pending.delete(answered));
    pending.add(answered);
  }
}
await stop;
await Promise.all(pending);
const p99Ms = times.sort((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? Number.NaN;
process.send?.({ sent: times.length, failed, p99Ms } satisfies ApiLoad, () => process.exit());
