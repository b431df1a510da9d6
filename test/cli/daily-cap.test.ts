import { beforeAll, describe, expect, it } from 'vitest';
import { rollUp } from '../../ledger/reports/rollup.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, addAdTo, testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { tollwayHere } from '../support/run-here.ts';

const database = testDatabase();
beforeAll(async () => {
  await addAccount(database.pool, { budget: '100.00' });
});

const campaign = (...args: string[]) =>
  tollwayHere({ DATABASE_URL: database.url, PATH: process.env.PATH }, 'campaign', ...args);

/** Runs a command that succeeds, and returns its JSON. */
async function json(...args: string[]) {
  const { code, stdout, stderr } = await campaign(...args, '--json');
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout);
}

it('a campaign gets a daily cap and pacing, and shows what today has spent and its pace', async () => {
  const added = await json(
    ...['add', '1', 'Paced', '--daily-cap', '0.60', '--pacing', 'even', '--hold'],
    ...['--fallback-url', 'https://fallback.example/'],
  );
  expect(added).toMatchObject({ dailyCap: '0.60', spentToday: '0.00', pacing: 'even', hold: true });
  const { id } = added;
  const ad = await addAdTo(database.pool, { id });
  await chargeBatch(database.pool, [clickRecord({ ad }), clickRecord({ ad }), clickRecord({ ad })]);
  await rollUp(database.pool);

  expect((await json('list')).at(-1)).toMatchObject({ dailyCap: '0.60', spentToday: '0.50' });
  expect((await campaign('list')).stdout).toMatch(/ 0\.60 +0\.50 +even, hold /);
  const shown = await json('show', String(id));
  expect(shown).toMatchObject({
    dailyCap: '0.60',
    spentToday: '0.50',
    spent: '0.50',
    pace: { spent: 0.8333 },
  });
  expect(Object.keys(shown.pace)).toEqual(['planned', 'spent', 'isAhead', 'aheadUntil']);
  expect((await campaign('show', String(id))).stdout).toMatch(
    /\npace +83\.3 % of the daily cap is spent, [\d.]+ % may be spent by now/,
  );

  const raised = await json('update', String(id), '--daily-cap', '5.00', '--pacing', 'rest', '--no-hold');
  expect(raised).toMatchObject({ dailyCap: '5.00', spentToday: '0.50', pacing: 'rest', hold: false });
  const removed = await json('update', String(id), '--daily-cap', 'none', '--pacing', 'none');
  expect(removed).toMatchObject({ dailyCap: null, spentToday: null, pacing: 'none', hold: false });
  // What was spent without a daily cap counts when one is set again.
  const { code, stderr } = await campaign('update', String(id), '--daily-cap', '0.49');
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /Expected a daily cap of at least 0\.50 USD, which campaign \d+ has spent on [\d-]+, got 0\.49/,
  );
});

describe('campaign add and update say what was expected', () => {
  it.each([
    [['add', '1', 'X', '--pacing', 'even'], 'Expected a daily cap for pacing "even"'],
    [['add', '1', 'X', '--daily-cap', '5', '--hold'], 'Expected pacing "even" or "rest" for hold'],
    [['add', '1', 'X', '--daily-cap', '5', '--pacing', 'rest', '--hold'], 'Expected a fallback URL for hold'],
    [['add', '1', 'X', '--daily-cap', '0'], 'Expected an amount above 0, got "0"'],
    [['update', '1', '--pacing', 'fast'], 'Allowed choices are none, even, rest'],
    [['update', '1', '--daily-cap', 'all'], 'got "all"'],
  ])('%j', async (args, message) => {
    const { code, stderr, stdout } = await campaign(...args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain(message);
    const { rows } = await database.pool.query("select name from campaign where name = 'X'");
    expect(rows).toEqual([]);
  });
});
