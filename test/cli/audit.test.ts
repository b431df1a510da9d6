import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { loadProgram } from '../../cli/program.ts';
import { listAudit } from '../../ledger/access/audit-log.ts';
import { updateCampaign } from '../../ledger/accounts/campaigns.ts';
import { changeAs } from '../../ledger/actor.ts';
import { listDeadLetters } from '../../ledger/charge/dead-letters.ts';
import { Spool } from '../../producer/spool.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { testDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { clickRecord } from '../support/records.ts';
import { append, ROOMY } from '../support/spool-fixture.ts';
import { suiteFolder } from '../support/temporary-folder.ts';

const database = testDatabase();
const folder = suiteFolder();
const program = await loadProgram([]);

beforeAll(() => {
  vi.stubEnv('DATABASE_URL', database.url);
  vi.stubEnv('DATA_DIR', folder);
  vi.stubEnv('BROKER', 'postgres');
});
afterEach(() => {
  process.exitCode = undefined;
});

/** Runs a command in this process. Returns its standard output. */
async function run(...args: string[]): Promise<string> {
  let stdout = '';
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    stdout += String(text);
    return true;
  });
  const writeError = vi.spyOn(process.stderr, 'write').mockImplementation(() => true);
  try {
    await (await loadProgram(args)).parseAsync(args, { from: 'user' });
  } finally {
    write.mockRestore();
    writeError.mockRestore();
  }
  return stdout;
}

let charged = '';
let spoolId = '';
let letters: readonly bigint[] = [];

/** Charges a click of ad 1, and rejects two of ads that do not exist; ad 5 is added before the redrive. */
async function chargeClicks(): Promise<void> {
  const ad = { id: 1, campaignId: 1, advertiserId: 1, priceMicros: 250_000n };
  const click = clickRecord({ ad });
  await chargeBatch(database.pool, [
    click,
    clickRecord({ ad: { ...ad, id: 5 } }),
    clickRecord({ ad: { ...ad, id: 900 } }),
  ]);
  charged = click.click.clickId;
  spoolId = click.from?.spoolId ?? '';
  const rejected = await listDeadLetters(database.pool, { limit: 2 });
  letters = rejected.toSorted((a, b) => (a.adId ?? 0) - (b.adId ?? 0)).map(({ id }) => id);
}

async function leaveSpool(): Promise<void> {
  const spool = new Spool({ ...ROOMY, root: join(folder, 'rescued') }, silent);
  await append(spool, ['not a click']);
  spool.close();
}

/** Gives up an event of webhook 1. */
async function failDelivery(): Promise<void> {
  await run('webhook', 'test', '1');
  await database.pool.query("update webhook_delivery set status = 'failed', finished_at = now()");
}

/** A command line that changes something, what it needs before, and the entries that it leaves, oldest first. */
type Writing = {
  readonly args: () => string[];
  readonly before?: () => Promise<void>;
  readonly leaves: readonly string[];
};
const writing = (args: string | (() => string[]), ...leaves: string[]): Writing => ({
  args: typeof args === 'string' ? () => args.split(' ') : args,
  leaves,
});

const ADDED = ['advertiser.create', 'budget_entry.create', 'campaign.create', 'ad.create'];

/** Every command that changes something, in an order in which each finds what it needs. */
const WRITING: readonly Writing[] = [
  writing('samples add', ...ADDED, ...ADDED, ...ADDED),
  writing('advertiser add Hats --budget 5.00', 'advertiser.create 4', 'budget_entry.create'),
  writing('advertiser rename 4 Caps', 'advertiser.update 4'),
  writing('advertiser update 4 --low-budget 50,10', 'advertiser.update 4'),
  writing('advertiser pause 4', 'advertiser.update 4'),
  writing('advertiser resume 4', 'advertiser.update 4'),
  writing('advertiser archive 4', 'advertiser.update 4'),
  writing('advertiser top-up 1 10.00', 'budget_entry.create'),
  writing('advertiser adjust 1 -1.00', 'budget_entry.create'),
  writing('campaign add 1 Summer --cap 5.00 --daily-cap 1.00', 'campaign.create 4'),
  writing('campaign update 4 --daily-cap 2.00 --pacing even', 'campaign.update 4'),
  writing('campaign put 1 crm-1 --name Advent', 'campaign.create 5'),
  writing('campaign pause 4', 'campaign.update 4'),
  writing('campaign resume 4', 'campaign.update 4'),
  writing('campaign archive 4', 'campaign.update 4'),
  writing('ad add 1 --price 0.10 --url https://example.com/', 'ad.create 4'),
  writing('ad update 4 --price 0.20', 'ad.update 4'),
  writing('ad pause 4', 'ad.update 4'),
  writing('ad resume 4', 'ad.update 4'),
  writing('ad archive 4', 'ad.update 4'),
  { ...writing(() => ['click', 'credit', charged], 'budget_entry.create'), before: chargeClicks },
  {
    ...writing(() => ['dead-letters', 'redrive', ...letters.map(String)], 'dead_letter.redrive'),
    before: async () =>
      void (await run('ad', 'add', '1', '--price', '0.10', '--url', 'https://example.com/')),
  },
  writing(() => ['dead-letters', 'discard', ...letters.map(String)], 'dead_letter.discard'),
  writing(() => ['spool', 'correct', spoolId, '--accepted', '9', '--reason', 'lost'], 'spool.correct'),
  { ...writing(() => ['spool', 'drain', join(folder, 'rescued')], 'spool.drain'), before: leaveSpool },
  writing(() => ['evidence', 'erase', '--click', charged], 'evidence.erase'),
  writing('evidence erase --day 2026-01-31', 'evidence.erase 2026-01-31'),
  writing('evidence erase --network 203.0.113.0/24', 'evidence.erase 203.0.113.0/24'),
  writing('rewind --since 1h', 'broker.rewind postgres'),
  writing('maintain --accept-step --rebuild-reports', 'ledger.maintain ledger'),
  writing(() => ['failed-batches', 'redrive', folder], 'failed_batches.redrive'),
  writing('key create --role viewer --advertiser 1', 'api_key.create 1'),
  writing('key revoke 1', 'api_key.revoke 1'),
  writing('login', 'api_key.create 2', 'login_link.create 2'),
  writing('login --key 2', 'login_link.create 2'),
  writing('webhook add https://example.com/tollway', 'webhook.create 1'),
  writing('webhook update 1 --events budget.low', 'webhook.update 1'),
  writing('webhook rotate-secret 1', 'webhook.rotate_secret 1'),
  {
    ...writing('webhook replay 1 --failed-since 1h', 'webhook.replay 1'),
    before: failDelivery,
  },
  writing('webhook pause 1', 'webhook.update 1'),
  writing('webhook resume 1', 'webhook.update 1'),
  writing('webhook archive 1', 'webhook.update 1'),
];

/** Commands that change nothing that the audit log is about: they read, sign links, make a topic, or send an event to test a webhook. */
const READING = [
  ...[
    'status',
    'top',
    'advertiser list',
    'advertiser entries',
    'campaign list',
    'campaign show',
    'ad list',
    'link',
  ],
  ...[
    'click list',
    'click show',
    'report',
    'statement',
    'reconcile',
    'export',
    'dead-letters list',
    'dead-letters show',
  ],
  ...['spool corrections', 'topics create', 'key list', 'audit list', 'audit export'],
  ...['webhook list', 'webhook deliveries', 'webhook attempts', 'webhook test'],
];

describe('every command that changes something', () => {
  it('is in the table above', async () => {
    const leaves = (command: Command, path: string[]): string[] =>
      command.commands.length === 0
        ? [path.join(' ')]
        : command.commands.flatMap((child) => leaves(child, [...path, child.name()]));
    const commands = leaves(program, []);
    const written = WRITING.map(({ args }) => args());
    const isWriting = (command: string) =>
      written.some((args) => `${args.join(' ')} `.startsWith(`${command} `));
    // A new command belongs in one of the two lists.
    expect(commands.filter((command) => isWriting(command) === READING.includes(command))).toEqual([]);
  });

  it.each(WRITING.map((one) => [one.args().slice(0, 4).join(' '), one] as const))(
    '%s leaves its entries',
    async (_, { args, before, leaves }) => {
      await before?.();
      const [last] = await listAudit(database.pool, { limit: 1 });
      await run(...args());
      const entries = (await listAudit(database.pool, { limit: 100 })).filter(
        ({ id }) => id > (last?.id ?? 0n),
      );
      const shown = entries
        .reverse()
        .map(({ action, subject }, index) =>
          leaves[index]?.includes(' ') ? `${action} ${subject}` : action,
        );
      expect(shown).toEqual(leaves);
      for (const entry of entries)
        expect(entry).toMatchObject({ actorType: 'cli', actor: userInfo().username, actorName: null });
    },
  );
});

describe('audit', () => {
  const change = () =>
    changeAs(database.pool, { type: 'key', id: 3, name: 'Campaign system', role: 'manager' }, (connection) =>
      updateCampaign(connection, 1, {
        capMicros: 12_500_000n,
        endsAt: null,
        fallbackUrl: 'https://example.com/?a=1,2',
      }),
    );
  const json = {
    id: expect.stringMatching(/^\d+$/),
    at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    ...{ actorType: 'key', actor: '3', actorName: 'Campaign system', actorRole: 'manager' },
    ...{ action: 'campaign.update', subject: '1', advertiserId: 1, currency: 'USD' },
    before: { cap: null, fallbackUrl: null },
    after: { cap: '12.50', fallbackUrl: 'https://example.com/?a=1,2' },
  };

  it('list prints the latest changes for a person, as CSV and as JSON', async () => {
    await change();
    const lines = (await run('audit', 'list', '--limit', '2')).split('\n');
    expect(lines).toHaveLength(4);
    expect(lines[0]).toMatch(/^id +at +actor +action +subject +advertiserId +advertiserName +changes$/);
    expect(lines[1]).toMatch(
      /^\d+ +\S+Z +key 3 \(Campaign system\) +campaign.update +1 \(Sample Coffee: first campaign\) +1 +Sample Coffee +cap: none → 12.50, fallbackUrl: none → https:\/\/example.com\/\?a=1,2$/,
    );
    expect(JSON.parse(await run('audit', 'list', '--limit', '1', '--json'))).toEqual([json]);
    const [header, row] = (await run('audit', 'list', '--limit', '1', '--format', 'csv')).split('\n');
    expect(header).toBe(
      'id,at,actorType,actor,actorName,actorRole,action,subject,advertiserId,currency,before,after',
    );
    expect(row).toContain('"{""cap"":null,""fallbackUrl"":null}"');
  });

  it('list names what the ids in values belong to', async () => {
    const linesOf = async (action: string) => (await run('audit', 'list', '--action', action)).split('\n');
    expect((await linesOf('ad.create')).at(-2)).toMatch(
      / ad\.create +1 \(Banner 300x250, coffee beans\) +1 +Sample Coffee +name: Banner .*, campaignId: 1 \(Sample Coffee: first campaign\), /,
    );
    expect((await linesOf('api_key.create')).at(-2)).toContain(', advertiserIds: 1 (Sample Coffee)');
    expect((await linesOf('advertiser.create'))[1]).toMatch(/ advertiser\.create +4 +4 +Caps +name: Hats, /);
  });

  it('list has filters', async () => {
    const subjects = async (...args: string[]) =>
      (
        JSON.parse(await run('audit', 'list', '--json', ...args)) as { action: string; subject: string }[]
      ).map(({ action, subject }) => `${action} ${subject}`);
    expect(await subjects('--actor', 'Campaign system')).toEqual(['campaign.update 1']);
    expect(await subjects('--action', 'api_key')).toEqual([
      'api_key.create 2',
      'api_key.revoke 1',
      'api_key.create 1',
    ]);
    expect(await subjects('--subject', '4', '--action', 'advertiser.create')).toEqual([
      'advertiser.create 4',
    ]);
    expect(await subjects('--advertiser', '4', '--action', 'ad')).toEqual([]);
    expect(await subjects('--until', '1d')).toEqual([]);
    expect((await subjects('--since', '1d')).length).toBeGreaterThan(30);
    expect(await run('audit', 'list', '--until', '1d')).toBe('Nothing matches.\n');
  });

  it('export prints all changes, oldest first, as NDJSON or CSV', async () => {
    const rows = (await run('audit', 'export')).trim().split('\n');
    expect(rows.length).toBeGreaterThan(30);
    expect(JSON.parse(rows[0] ?? '')).toMatchObject({ id: '1', action: 'advertiser.create' });
    expect(JSON.parse(rows.at(-1) ?? '')).toEqual(json);
    const csv = (await run('audit', 'export', '--format', 'csv', '--advertiser', '4')).trim().split('\n');
    expect(csv[0]).toMatch(/^id,at,actorType,/);
    expect(csv[1]).toMatch(/^\d+,[^,]*,cli,[^,]*,,,advertiser.create,4,4,USD,,"\{""name"":""Hats""/);
  });
});
