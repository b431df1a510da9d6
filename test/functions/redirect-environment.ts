import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { formatLinkKeys, type LinkKey } from '../../common/config/link-keys.ts';
import type { ReadClick } from '../../contract/click-event.ts';
import { createSigner, evergreenLink, impressionLink, type Link } from '../../contract/link-token.ts';
import { type Lambda, startLambda } from '../../emulators/lambda/runtime.ts';
import type { Server } from '../brokers/broker.ts';
import { type TestEnvironment, withEnvironment } from '../brokers/test-environment.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { httpApiEvent, type TestRequest } from './http-events.ts';

const KEY: LinkKey = { id: 'k1', state: 'signs', secret: Buffer.alloc(32, 'redirect') };
export const sign = createSigner([KEY]);
const DAY_MS = 86_400_000;
/** The packages that Lambda's runtime brings. */
export const NODE_PATH = join(import.meta.dirname, '..', '..', 'node_modules');

/** The response of the function as a client gets it, and how long it took. */
export type Clicked = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly clickId: string | undefined;
  readonly milliseconds: number;
};

/** A test environment and the redirect function. The function reaches its database through the proxy. */
export type RedirectEnvironment = TestEnvironment & {
  readonly lambda: Lambda;
  readonly proxy: TcpProxy;
  readonly click: (request?: TestRequest) => Promise<Clicked>;
  readonly send: (event: unknown) => Promise<Clicked>;
  /** A path with a link to one of the ads, the first unless told otherwise. */
  readonly evergreen: (ad?: number) => string;
  readonly impression: (ad?: number) => string;
  /** Starts a consumer, waits until `count` clicks are settled, and returns the clicks that the broker held. */
  readonly settle: (count: number) => Promise<readonly ReadClick[]>;
};

export type Settings = Readonly<Record<string, string | undefined>>;

export function pathOf(link: Link): string {
  return `/c/${sign(link)}`;
}

/** Makes an environment with the function from the bundles in `root`, runs `work` there and clears it away. Prints the function's logs after a failure. */
export function withRedirect(
  root: string,
  server: Server,
  work: (environment: RedirectEnvironment) => Promise<void>,
  env: Settings = {},
): Promise<void> {
  return withEnvironment(server, async (environment) => {
    const proxy = await startTcpProxy(environment.database.url);
    environment.later(proxy.close);
    const given: Settings = {
      ...environment.broker.env,
      DATABASE_URL: proxy.url,
      LINK_KEYS: formatLinkKeys([KEY]),
      NODE_PATH,
      ...env,
    };
    const lambda = await startLambda({
      folder: join(root, 'lambda-redirect'),
      env: Object.fromEntries(
        Object.entries(given).filter((entry): entry is [string, string] => entry[1] !== undefined),
      ),
      functionName: 'lambda-redirect',
    });
    environment.later(lambda.stop);
    const send = (event: unknown) => invoke(lambda, event);
    const adId = (ad = 0) => environment.ads[ad]?.id ?? 0;
    const evergreen = (ad?: number) => pathOf(evergreenLink(adId(ad)));
    try {
      await work({
        ...environment,
        lambda,
        proxy,
        send,
        click: (request) => send(httpApiEvent({ path: evergreen(), ...request })),
        evergreen,
        impression: (ad) => pathOf(impressionLink(adId(ad), DAY_MS)),
        settle: (count) => settle(environment, count),
      });
    } catch (error) {
      process.stderr.write(lambda.logs());
      throw error;
    }
  });
}

async function invoke(lambda: Lambda, event: unknown): Promise<Clicked> {
  const startedAt = performance.now();
  const result = await lambda.invoke(event);
  const milliseconds = performance.now() - startedAt;
  if ('error' in result) throw new Error(result.error.errorMessage);
  // The format for both kinds of gateways.
  const { statusCode, headers, body } = result.answer as {
    statusCode: number;
    headers: Record<string, string>;
    body: string;
  };
  const clickId = headers['Tollway-Click'];
  return { status: statusCode, headers, body, clickId, milliseconds };
}

async function settle(environment: TestEnvironment, count: number): Promise<readonly ReadClick[]> {
  const held: ReadClick[] = [];
  const consumer = await environment.consume({
    wrap: (submit) => async (records, signal) => {
      await submit(records, signal);
      for (const record of records) if (record.is === 'click') held.push(record);
    },
  });
  await until(`${count} clicks`, () => {
    if (consumer.failure()) throw consumer.failure();
    return held.length >= count;
  });
  await consumer.stop();
  return held;
}

/** Settings of a function that `putToSleep` can freeze. */
export const SLEEPER: Settings = {
  NODE_OPTIONS: `--import=${join(import.meta.dirname, 'children', 'sleeper.mjs')}`,
};

/** Freezes a function with the settings `SLEEPER`. By its clock it is frozen for more than a minute. */
export async function putToSleep(lambda: Lambda): Promise<void> {
  // Sent before the freeze: a frozen process could handle the signal after the next event.
  process.kill(lambda.pid(), 'SIGUSR2');
  await until('the clock to be set forward', () => lambda.logs().includes('The clock was set forward'));
  await lambda.freeze();
}

/** The JSON lines of the function's output. */
export function linesOf(lambda: Lambda): Record<string, unknown>[] {
  return lambda
    .logs()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
}

/** The sum of all reported values of a counter, over all labels. */
export function reported(lambda: Lambda, name: string): number {
  return linesOf(lambda)
    .filter((line) => '_aws' in line && name in line)
    .reduce((sum, line) => sum + Number(line[name]), 0);
}
