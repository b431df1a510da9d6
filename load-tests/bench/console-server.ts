import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { Pool as HttpPool } from 'undici';
import { formatLinkKeys } from '../../common/config/link-keys.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { createKey } from '../../ledger/access/api-keys.ts';
import type { BenchContext } from './bench.ts';
import { processMicros } from './process-cpu.ts';

const START_MS_MAX = 60_000;

/** A request of the HTTP API. */
export type ApiRequest = { readonly method: 'GET' | 'POST'; readonly path: string; readonly body?: object };

/** The console as a process of its own, with a client that keeps its connections. */
export type ConsoleServer = {
  /** Sends a request and returns its body. Throws unless the status is 2xx. */
  readonly send: (request: ApiRequest) => Promise<string>;
  /** CPU time of the process so far, in ms; NaN where there is no /proc. */
  readonly cpuMs: () => number;
};

/** Starts the console on a migrated database with `connections` of its client. */
export async function startConsole(
  url: string,
  pool: Pool,
  connections: number,
  { resources, env }: BenchContext,
): Promise<ConsoleServer> {
  const [port, opsPort] = await freePorts(2);
  const child = resources.child([process.execPath, join(import.meta.dirname, '../../console/main.ts')], {
    env: {
      ...env,
      DATABASE_URL: url,
      DATA_DIR: resources.folder(),
      CONSOLE_PORT: String(port),
      CONSOLE_OPS_PORT: String(opsPort),
      CONSOLE_REQUESTS_PER_SECOND: '100000',
      LINK_KEYS: formatLinkKeys([{ id: 'bench', state: 'signs', secret: randomBytes(32) }]),
    },
  });
  const { key } = await createKey(pool, { name: 'Bench', role: 'admin' });
  const client = new HttpPool(`http://127.0.0.1:${port}`, { connections });
  resources.add({ name: 'HTTP client', close: () => client.destroy() });
  const send = async ({ method, path, body }: ApiRequest) => {
    const headers = { authorization: `Bearer ${key}`, ...(body && { 'content-type': 'application/json' }) };
    const payload = body ? { body: JSON.stringify(body) } : {};
    const answer = await client.request({ method, path, headers, ...payload });
    const text = await answer.body.text();
    if (answer.statusCode > 299) throw new Error(`${method} ${path}: expected 2xx, got ${text}`);
    return text;
  };
  await waitFor(() => send({ method: 'GET', path: '/v1/advertisers?limit=1' }));
  return { send, cpuMs: () => processMicros(child.pid ?? 0) / 1_000 };
}

async function waitFor(answer: () => Promise<unknown>): Promise<void> {
  for (const deadline = performance.now() + START_MS_MAX; ; await sleep(100)) {
    try {
      await answer();
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
  }
}
