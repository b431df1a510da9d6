import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { abridged, commandBlocksOf, comparableLines } from '../support/doc-blocks.ts';
import { readPage } from '../support/markdown.ts';
import { runCommands, untilDayIsLong, untilSettled } from '../support/page-commands.ts';
import { isSkipped } from '../support/skipped.ts';
import { stackEnv, startStack, type TestStack } from '../support/stack.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';
import { type Receiver, startReceiver } from '../support/webhook-receiver.ts';

// The commands of docs/api-month.md, in their order. In the end the command line reads the same month.

const PAGE = 'docs/api-month.md';

type Amounts = readonly { readonly amount: string }[];
type Statement = {
  readonly entries: readonly { readonly amount: string; readonly reference: string }[];
  readonly charges: Amounts;
  readonly credits: Amounts;
  readonly closing: string;
};
type Audit = { readonly items: readonly { readonly advertiserId: number; readonly action: string }[] };
type Invoice = { readonly number: string; readonly currency: string; readonly lines: Amounts };

const noCurl = spawnSync('curl', ['--version']).error ? 'a month by the API: install curl' : null;

describe.skipIf(isSkipped(noCurl))('the month of docs/api-month.md', () => {
  const folder = suiteFolder();
  /** What each block has printed, by its first command. */
  const printed: { first: string; output: string }[] = [];
  let env: NodeJS.ProcessEnv;
  let stack: TestStack;
  let receiver: Receiver;

  beforeAll(async () => {
    const [, billing = ''] = /^```js billing\.mjs\n(.*?)^```$/ms.exec(readPage('docs/recipes.md')) ?? [];
    writeFileSync(join(folder, 'billing.mjs'), billing);
    receiver = await startReceiver();
    env = await stackEnv(folder, { WEBHOOK_PRIVATE_TARGETS: 'on' });
    await untilDayIsLong();
    stack = await startStack(env);
  }, 300_000);
  afterAll(async () => {
    await stack.stop();
    await receiver.close();
  });

  const run = (commands: string) =>
    runCommands(
      commands
        .replaceAll('http://127.0.0.1:8083', stack.consoleUrl)
        .replace('https://example.com/tollway', receiver.url)
        .replace('TOLLWAY_URL=', `cd "${folder}"; TOLLWAY_URL=`)
        .replace('node billing', `"${process.execPath}" billing`),
      folder,
      env,
    );
  const file = (name: string) => readFileSync(join(folder, name), 'utf8');
  const json = <T>(name: string) => JSON.parse(file(name)) as T;
  const command = async <T>(...args: string[]) => {
    const { stdout, stderr, code } = await stack.tollway(...args, '--json');
    expect(code, stderr).toBe(0);
    return JSON.parse(stdout) as T;
  };
  const month = async () => (await run('TZ=Europe/Berlin date +%Y-%m')).output.trim();
  const total = (lines: Amounts) =>
    lines.reduce((sum, { amount }) => sum + Math.round(Number(amount) * 1e6), 0) / 1e6;
  const outputOf = (part: string) => printed.find(({ first }) => first.includes(part))?.output ?? '';

  it('runs as the page has it', { timeout: 300_000 }, async () => {
    for (const { commands, first, output: shown } of commandBlocksOf(PAGE)) {
      const { output, errors, code } = await run(commands);
      expect(code, `${commands}\n${output}\n${errors}`).toBe(0);
      printed.push({ first, output });
      if (shown !== null) {
        const lines = comparableLines(shown, 'exact');
        expect(abridged(comparableLines(output, 'exact'), lines)).toEqual(lines);
      }
      await untilSettled(stack);
    }
  });

  it('charges up to the daily cap, then up to the budget', () => {
    // The rest is less than the dearer of the two prices.
    const [, spentToday = ''] = /"spentToday":"([\d.]+)"/.exec(outputOf('/v1/campaigns/4')) ?? [];
    expect(Number(spentToday)).toBeGreaterThan(19.6);
    expect(Number(spentToday)).toBeLessThanOrEqual(20);
    const { charges } = json<Statement>('statement.json');
    expect(total(charges)).toBeGreaterThan(29.6);
    expect(total(charges)).toBeLessThanOrEqual(30);
  });

  it('adds each top-up and the credit once', () => {
    const { entries, charges, credits, closing } = json<Statement>('statement.json');
    expect(entries.map(({ amount, reference }) => [amount, reference])).toEqual([
      ['30.00', 'payment-1001'],
      ['50.00', 'payment-1003'],
    ]);
    expect(credits).toHaveLength(1);
    expect(Number(closing)).toBeCloseTo(80 - total(charges) + total(credits), 6);
  });

  it('sends budget.low and budget.exhausted, signed with the secret of the webhook', async () => {
    const types = () => receiver.received.map(({ type }) => type);
    await until('budget.exhausted', () => types().includes('budget.exhausted'));
    // One batch passes both thresholds, or two batches pass one each: the load of the machine decides how the clicks are batched.
    const low = receiver.received.slice(0, -1);
    expect(types()).toEqual([...low.map(() => 'budget.low'), 'budget.exhausted']);
    expect([[20, 5], [5]]).toContainEqual(low.map(({ data }) => data.percent));
    const { secret } = json<{ secret: string }>('webhook.txt');
    for (const { body, headers, data } of receiver.received) {
      new Webhook(secret).verify(body, headers as Record<string, string>);
      expect(data).toMatchObject({ advertiserId: 4, currency: 'EUR' });
    }
  });

  it('gives the same statement and report by the command line', async () => {
    const statement = await command<Statement>('statement', '4', '--month', await month());
    expect({ ...statement, asOf: null }).toEqual({ ...json<Statement>('statement.json'), asOf: null });
    const report = await command<object>(
      ...['report', '--since', `${await month()}-01`, '--advertiser', '4'],
      ...['--by', 'campaign,ad,publisher,outcome,reason'],
    );
    const moving = { asOf: null, until: null };
    expect({ ...report, ...moving }).toEqual({ ...json<object>('report.json'), ...moving });
  });

  it('tells the story of the credited click', () => {
    expect(json('click.json')).toMatchObject({ outcome: 'charged', advertiserId: 4 });
    expect(json<{ credited: string; charged: string }>('click.json').credited).toBe(
      json<{ charged: string }>('click.json').charged,
    );
  });

  it('shows the advertiser its own changes and no others', () => {
    const { items } = json<Audit>('audit.json');
    expect(new Set(items.map(({ advertiserId }) => advertiserId))).toEqual(new Set([4]));
    expect(items.map(({ action }) => action)).toContain('campaign.update');
  });

  it('writes the same invoices in a second billing run', async () => {
    const name = `invoice-${await month()}-4.json`;
    const first = json<Invoice>(name);
    expect(first).toMatchObject({ number: `${await month()}-4`, currency: 'EUR' });
    const { charges, credits } = json<Statement>('statement.json');
    expect(total(first.lines)).toBeCloseTo(total(charges) - total(credits), 6);
    const again = commandBlocksOf(PAGE).find(({ commands }) => commands.includes('billing.mjs'));
    expect((await run(again?.commands ?? '')).code).toBe(0);
    expect({ ...json<Invoice>(name), asOf: null }).toEqual({ ...first, asOf: null });
  });

  it('has balanced books', async () => {
    expect(printed.at(-1)?.output).toContain('"balanced":true');
    expect((await stack.tollway('reconcile', '--settled', '--deep')).code).toBe(0);
  });
});
