import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { createKey } from '../../ledger/access/api-keys.ts';
import { chargeBatch, expectBalanced } from '../support/charge-batch.ts';
import { type Account, addAccount, testDatabase } from '../support/database.ts';
import { TestSpool } from '../support/records.ts';
import { runScript } from '../support/run-script.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

// Clients send top-ups, new campaigns and credits, and repeat each until it is answered, while `kill -9` ends the console again and again.

const KILLS_MIN = 10;
/** More kills than the least, if no answer was lost: a commit that the console did not live to answer. */
const KILLS_MAX = 60;
const CLIENTS = 8;
/** Longest time from the first answer of a console until it is killed at the next commit, in ms. */
const LIFE_MS_MAX = 500;
/** Longest wait for that commit, in ms. */
const COMMIT_MS_MAX = 2_000;
const CREDITS = 3_000;
const PRICE = '0.25';
const TOP_UP = '1.00';
const PAUSE_MS = 20;

/** A request, and what a client knows about it. */
type Change = {
  readonly kind: 'top-up by key' | 'top-up by reference' | 'campaign' | 'credit';
  readonly path: string;
  readonly name: string;
  readonly body: object;
  /** `Idempotency-Key`; `null` for a change that is idempotent by itself. */
  readonly key: string | null;
  /** How often it was sent before it was answered. */
  attempts: number;
  status: number;
  answer: string;
  /** Whether the answer is to a change that an earlier attempt has made. */
  isRepeated: boolean;
};

describe('kill -9 of the console', () => {
  const folder = suiteFolder();
  const database = testDatabase();
  const changes: Change[] = [];
  let account: Account;
  let clickIds: string[];
  let env: NodeJS.ProcessEnv;
  let url: string;
  let authorization: string;
  let child: ChildProcess;

  beforeAll(async () => {
    account = await addAccount(database.pool, { budget: '10000.00', price: PRICE });
    const spool = new TestSpool();
    const clicks = Array.from({ length: CREDITS }, () => spool.click({ ad: account.ad }));
    const outcomes = await chargeBatch(database.pool, clicks);
    expect(new Set(outcomes)).toEqual(new Set(['charged']));
    clickIds = clicks.map(({ click }) => click.clickId);
    const { key } = await createKey(database.pool, { name: 'Clients', role: 'admin' });
    authorization = `Bearer ${key}`;
    const [port, opsPort] = await freePorts(2);
    url = `http://127.0.0.1:${port}`;
    env = {
      ...process.env,
      DATABASE_URL: database.url,
      DATA_DIR: folder,
      CONSOLE_PORT: String(port),
      CONSOLE_OPS_PORT: String(opsPort),
      CONSOLE_REQUESTS_PER_SECOND: '100000',
      LOG_LEVEL: 'error',
    };
    child = runScript('console/main.ts', env);
  }, 120_000);
  afterAll(async () => {
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  });

  const post = async ({
    path,
    body,
    key,
  }: Change): Promise<{ status: number; text: string; isReplayed: boolean }> => {
    const headers = {
      ...{ authorization, 'content-type': 'application/json' },
      ...(key !== null && { 'idempotency-key': key }),
    };
    const answer = await fetch(`${url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
    const isReplayed = answer.headers.has('idempotency-replayed');
    return { status: answer.status, text: await answer.text(), isReplayed };
  };

  /** Sends a change until there is an answer. */
  const carryOut = async (change: Change): Promise<void> => {
    for (; ; await sleep(PAUSE_MS)) {
      const answer = await post(change).catch(() => null);
      change.attempts += 1;
      // A console that starts or ends can also answer 503.
      if (answer === null || answer.status >= 500) continue;
      change.status = answer.status;
      change.answer = answer.text;
      change.isRepeated = answer.isReplayed || answer.status === 200;
      return;
    }
  };

  const nextChange = (index: number): Change => {
    const entries = `/v1/advertisers/${account.advertiser.id}/budget-entries`;
    const name = `change ${index}`;
    const fresh = { name, attempts: 0, status: 0, answer: '', isRepeated: false };
    const clickId = index % 4 === 3 ? clickIds.pop() : undefined;
    if (clickId !== undefined)
      return { ...fresh, kind: 'credit', path: `/v1/clicks/${clickId}/credit`, body: {}, key: null };
    const key = randomUUID();
    switch (index % 3) {
      case 0:
        return { ...fresh, kind: 'top-up by key', path: entries, body: { amount: TOP_UP }, key };
      case 1:
        return {
          ...{ ...fresh, kind: 'top-up by reference', path: entries, key: null },
          body: { amount: TOP_UP, reference: name },
        };
      default:
        return {
          ...{ ...fresh, kind: 'campaign', path: '/v1/campaigns', key },
          body: { advertiserId: account.advertiser.id, name },
        };
    }
  };

  const startClients = (isOver: () => boolean) =>
    Promise.all(
      Array.from({ length: CLIENTS }, async () => {
        while (!isOver()) {
          const change = nextChange(changes.length);
          changes.push(change);
          await carryOut(change);
        }
      }),
    );
  const answered = () => changes.filter(({ status }) => status !== 0).length;
  /** Waits until the database has a change that no client has an answer to. */
  const untilUnanswered = async () => {
    const deadline = performance.now() + COMMIT_MS_MAX;
    for (let stored = 0; stored <= answered() && performance.now() < deadline; ) {
      const { rows } = await database.pool.query<{ changes: number }>(
        'select (select count(*) - 1 from budget_entry)::int + (select count(*) - 1 from campaign)::int as changes',
      );
      stored = rows[0]?.changes ?? 0;
    }
  };
  /** Number of changes that a console has committed and did not live to answer, as far as their repetitions are answered. */
  const lost = () => changes.filter(({ isRepeated }) => isRepeated).length;
  const ofKind = (kind: Change['kind']) => changes.filter((change) => change.kind === kind);

  it(`answers every change, through at least ${KILLS_MIN} of them`, { timeout: 600_000 }, async () => {
    let isOver = false;
    const clients = startClients(() => isOver);
    for (let kill = 0; kill < (lost() === 0 ? KILLS_MAX : KILLS_MIN); kill += 1) {
      const before = answered();
      await until('an answer', () => answered() > before, 60_000);
      await sleep(Math.random() * LIFE_MS_MAX);
      await untilUnanswered();
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
      child = runScript('console/main.ts', env);
    }
    isOver = true;
    await clients;
    expect(new Set(changes.map(({ status, answer }) => (status < 300 ? 'done' : answer)))).toEqual(
      new Set(['done']),
    );
    expect(changes.filter(({ attempts }) => attempts > 1).length).toBeGreaterThan(KILLS_MIN);
    expect(lost()).toBeGreaterThan(0);
  });

  it('has every top-up and credit once', async () => {
    const { rows } = await database.pool.query<{ kind: string; entries: number; different: number }>(
      `select kind, count(*)::int as entries, count(distinct coalesce(click_id::text, reference))::int as different
       from budget_entry where advertiser_id = $1 group by kind order by kind`,
      [account.advertiser.id],
    );
    const credits = ofKind('credit').length;
    // One more: that of the account.
    const topUps = ofKind('top-up by key').length + ofKind('top-up by reference').length + 1;
    expect(rows).toEqual([
      { kind: 'credit', entries: credits, different: credits },
      { kind: 'top_up', entries: topUps, different: topUps },
    ]);
  });

  it('has every campaign once', async () => {
    const { rows } = await database.pool.query<{ name: string }>(
      `select name from campaign where name like 'change %' order by id`,
    );
    expect(rows.map(({ name }) => name).sort()).toEqual(
      ofKind('campaign')
        .map(({ name }) => name)
        .sort(),
    );
  });

  it('has the effect that each answer names', async () => {
    const { rows } = await database.pool.query<{ id: string }>(
      `select 'entry ' || id as id from budget_entry union all select 'campaign ' || id from campaign
       union all select 'credit ' || click_id from budget_entry where click_id is not null`,
    );
    const stored = new Set(rows.map(({ id }) => id));
    const named = changes.map(({ kind, answer }) => {
      const body = JSON.parse(answer);
      if (kind === 'campaign') return `campaign ${body.id}`;
      return kind === 'credit' ? `credit ${body.clickId}` : `entry ${body.entry.id}`;
    });
    expect(named.filter((id) => !stored.has(id))).toEqual([]);
    expect(new Set(named).size).toBe(changes.length);
  });

  it('answers a repetition as it did first', { timeout: 120_000 }, async () => {
    for (const change of changes.filter(({ key }) => key !== null).slice(0, 500)) {
      const again = await post(change);
      expect([again.status, again.text]).toEqual([change.status, change.answer]);
    }
  });

  it('keeps the books balanced', async () => {
    await expectBalanced(database.pool);
  });
});
