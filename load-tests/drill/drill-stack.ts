import { randomBytes } from 'node:crypto';
import { chmodSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { readStack, type Stack } from '../../cli/start/stack.ts';
import { settings } from '../../common/config/config.ts';
import { formatLinkKeys, type LinkKey, parseLinkKeys } from '../../common/config/link-keys.ts';
import { parseAmount } from '../../common/money.ts';
import { createPool, type Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import { createSigner, evergreenLink, impressionLink, type LinkSigner } from '../../contract/link-token.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { type Guard, untilAnswers } from '../../emulators/process/guarded-process.ts';
import { addAd } from '../../ledger/accounts/ads.ts';
import { addAdvertiser } from '../../ledger/accounts/advertisers.ts';
import { addBudgetEntry } from '../../ledger/accounts/budget-entries.ts';
import { addCampaign } from '../../ledger/accounts/campaigns.ts';
import { childrenOf, findPart, type Part } from '../load/find-part.ts';
import { BROWSER_HEADERS } from '../load/traffic.ts';
import type { Targets } from './prometheus.ts';

const START = join(import.meta.dirname, '..', '..', 'cli', 'start', 'main.js');
const START_MS_MAX = 60_000;
const STOP_MS_MAX = 15_000;
/** Longest wait for a redirect, in ms: shorter than a step of a drill, because some drills stop the ad server. */
const ANSWER_MS_MAX = 2_000;
const CONNECTIONS = 20;
const LINK_LIFE_MS = 3_600_000;
const SERVED_MS_MAX = 20_000;

/** Size of all spools at which the ad server refuses clicks, small enough that a drill fills it within seconds. */
export const SPOOL_MAX_BYTES = 1_048_576;

/** An advertiser with one ad, made for one drill. */
export type DrillAd = { readonly advertiserId: number; readonly campaignId: number; readonly adId: number };

/** A stack of `npm start` that belongs to the drill. */
export type DrillStack = {
  readonly stack: Stack;
  readonly pool: Pool;
  readonly sign: LinkSigner;
  readonly targets: Targets;
  /** Adds an advertiser and waits until the ad server redirects its ad. Amounts in units of the currency. */
  readonly addAd: (name: string, amounts: { budget: string; price: string }) => Promise<DrillAd>;
  /** Tops up the budget of an advertiser. */
  readonly topUp: (advertiserId: number, amount: string) => Promise<void>;
  /** Requests paths of the public port, with the headers of a browser. Requests that fail are not repeated. */
  readonly send: (paths: readonly string[], headers?: Readonly<Record<string, string>>) => Promise<void>;
  /** Clicks on `count` impression links of an ad. */
  readonly click: (adId: number, count: number) => Promise<void>;
  /** Process id of a part. */
  readonly pidOf: (part: Part) => number;
  /** Process id of `npm start`, which starts a part again that dies. */
  readonly supervisorPid: number;
  /** Process ids of PostgreSQL: the postmaster and its children. */
  readonly postgresPids: () => number[];
  readonly stop: () => Promise<void>;
};

/** Starts all parts with an embedded PostgreSQL in the folder of a guard. Throws the end of their log if they do not become ready. */
export async function startDrillStack(guard: Guard): Promise<DrillStack> {
  // PostgreSQL runs as a user of its own.
  chmodSync(guard.folder, 0o755);
  const dataDir = join(guard.folder, 'data');
  const keys = parseLinkKeys(`drill:signs:${randomBytes(16).toString('base64url')}`);
  const child = await guard.run(process.execPath, [START], await environmentOf(dataDir, keys));
  const stack = await untilStarted(dataDir, async () => (child.hasEnded() ? child.logTail() : null));
  const pool = createPool(stack.databaseUrl, 'drill', 8, () => {});
  const sign = createSigner(keys);
  const agent = new Agent({
    connections: CONNECTIONS,
    headersTimeout: ANSWER_MS_MAX,
    bodyTimeout: ANSWER_MS_MAX,
  });
  const { pid = 0 } = stack;
  const send: DrillStack['send'] = (paths, headers = {}) => sendAll(stack.adServerUrl, agent, paths, headers);
  return {
    stack,
    pool,
    sign,
    targets: {
      'ad-server': [new URL(stack.adServerOpsUrl).host],
      processor: [new URL(stack.processorOpsUrl).host],
      console: [new URL(stack.consoleOpsUrl).host],
    },
    addAd: async (name, amounts) => {
      const added = await addAccount(pool, name, amounts);
      await untilServed(`${stack.adServerUrl}/c/${sign(evergreenLink(added.adId))}`);
      return added;
    },
    topUp: async (advertiserId, amount) => {
      const reference = `drill ${randomBytes(4).toString('hex')}`;
      await addBudgetEntry(pool, advertiserId, 'top_up', parseAmount(amount), reference);
    },
    send,
    click: (adId, count) =>
      send(Array.from({ length: count }, () => `/c/${sign(impressionLink(adId, LINK_LIFE_MS))}`)),
    pidOf: (part) => findPart(pid, part),
    supervisorPid: pid,
    postgresPids: () => {
      const postmaster = Number(
        readFileSync(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8').split('\n')[0],
      );
      return [postmaster, ...childrenOf(postmaster)];
    },
    stop: async () => {
      await Promise.all([pool.end(), agent.destroy()]);
      child.signal('SIGTERM');
      await Promise.race([child.ended, sleep(STOP_MS_MAX)]);
    },
  };
}

/** Gives every setting its default, whatever the environment of the drill has. */
export function unsetSettings(): Record<string, string> {
  return Object.fromEntries(Object.keys(settings).map((name) => [name, '']));
}

/** Every setting has its default, whatever the environment of the drill has, except those of the drill. */
async function environmentOf(dataDir: string, keys: readonly LinkKey[]): Promise<Record<string, string>> {
  const [adServer, adServerOps, processorOps, console, consoleOps] = await freePorts(5);
  return {
    ...unsetSettings(),
    DATA_DIR: dataDir,
    LINK_KEYS: formatLinkKeys(keys),
    PUBLIC_URL: `http://127.0.0.1:${adServer}`,
    AD_SERVER_PORT: String(adServer),
    AD_SERVER_OPS_PORT: String(adServerOps),
    PROCESSOR_OPS_PORT: String(processorOps),
    CONSOLE_PORT: String(console),
    CONSOLE_OPS_PORT: String(consoleOps),
    CATALOG_POLL_MS: '1000',
    SPOOL_MAX_BYTES: String(SPOOL_MAX_BYTES),
    SPOOL_SEGMENT_BYTES: '65536',
    SPOOL_FULL: 'refuse',
    WATERMARK_INTERVAL_MS: '500',
    WEBHOOK_PRIVATE_TARGETS: 'on',
  };
}

async function untilStarted(dataDir: string, earlyEnd: () => Promise<string | null>): Promise<Stack> {
  let stack: Stack | null = null;
  const isStarted = async () => {
    stack = readStack(dataDir);
    if (stack === null) throw new Error('it is not ready');
  };
  await untilAnswers('npm start', isStarted, earlyEnd, START_MS_MAX);
  // `untilAnswers` has returned, so it is set. The compiler does not see assignments in closures.
  return stack as unknown as Stack;
}

async function addAccount(
  pool: Pool,
  name: string,
  { budget, price }: { budget: string; price: string },
): Promise<DrillAd> {
  const advertiser = await addAdvertiser(pool, name, 'USD');
  await addBudgetEntry(pool, advertiser.id, 'top_up', parseAmount(budget), 'drill');
  const campaign = await addCampaign(pool, advertiser.id, `${name}: campaign`);
  const ad = await addAd(pool, campaign.id, parseAmount(price), 'https://example.com/drill?click={click_id}');
  return { advertiserId: advertiser.id, campaignId: campaign.id, adId: ad.id };
}

/** Waits until the ad server knows a new ad. `HEAD` is not a click. */
async function untilServed(url: string): Promise<void> {
  const look = async () => {
    const { statusCode, body } = await request(url, { method: 'HEAD' });
    await body.dump();
    if (statusCode !== 302) throw new Error(`status ${statusCode}`);
  };
  await untilAnswers('The ad server', look, async () => null, SERVED_MS_MAX);
}

async function sendAll(
  baseUrl: string,
  dispatcher: Agent,
  paths: readonly string[],
  headers: Readonly<Record<string, string>>,
): Promise<void> {
  const queue = [...paths];
  const run = async () => {
    for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
      try {
        const { body } = await request(baseUrl + path, {
          dispatcher,
          headers: { ...BROWSER_HEADERS, ...headers },
        });
        await body.dump();
      } catch {
        // Some drills stop the ad server.
      }
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, run));
}
