import { expect, it } from 'vitest';
import { inTransaction } from '../../common/postgres/postgres.ts';
import { parseTimeZone } from '../../common/time-zone.ts';
import { addAdvertiser } from '../../ledger/advertisers.ts';
import { readReport } from '../../ledger/reports.ts';
import { rollUp } from '../../ledger/rollup.ts';
import { readStatement } from '../../ledger/statement.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase, testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { tollwayHere } from '../support/run-here.ts';

const database = testDatabase();
/** Node has kept this name; tzdata 2020b removed it. */
const GONE = 'US/Pacific-New';
const REFUSAL = {
  code: 'bad_time_zone',
  message: expect.stringContaining(
    `Expected a time zone that the database server knows, got its error: time zone "${GONE}" not recognized`,
  ),
};

it('Node knows a name that the server does not', async () => {
  expect(parseTimeZone(GONE)).toBe(GONE);
  await expect(database.pool.query('select now() at time zone $1', [GONE])).rejects.toMatchObject({
    code: '22023',
  });
});

it('an advertiser in a time zone that the server does not know is refused', async () => {
  await expect(addAdvertiser(database.pool, 'West', 'USD', GONE)).rejects.toMatchObject(REFUSAL);
  await expect(
    inTransaction(database.pool, (connection) => addAdvertiser(connection, 'West', 'USD', GONE)),
  ).rejects.toMatchObject(REFUSAL);
});

it('a report in a time zone that the server does not know is refused', async () => {
  for (const [since, until] of [
    ['2026-01-01', '2026-01-02'],
    [new Date('2026-01-01T00:00Z'), new Date('2026-01-02T00:00Z')],
  ] as const)
    await expect(
      readReport(database.pool, { since, until, by: ['day'], timeZone: GONE }),
    ).rejects.toMatchObject(REFUSAL);
});

it('the command line refuses it with the error of the server', async () => {
  const run = (...args: string[]) =>
    tollwayHere({ DATABASE_URL: database.url, PATH: process.env.PATH }, ...args);
  for (const args of [
    ['advertiser', 'add', 'West', '--time-zone', GONE],
    ['report', '--since', '1d', '--time-zone', GONE],
  ])
    expect(await run(...args)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^Expected a time zone that the database server knows/),
    });
});

it('after a move to a server that lacks the time zone of an advertiser, errors name the server', async () => {
  const moved = await createTestDatabase();
  try {
    const { advertiser, ad } = await addAccount(moved.pool);
    await chargeBatch(moved.pool, [clickRecord({ ad })]);
    await moved.pool.query('alter table advertiser disable trigger check_time_zone');
    await moved.pool.query('update advertiser set time_zone = $1', [GONE]);
    expect(await chargeBatch(moved.pool, [clickRecord({ ad })])).toEqual(['charged']);
    await expect(rollUp(moved.pool)).rejects.toMatchObject(REFUSAL);
    await expect(readStatement(moved.pool, advertiser.id, '2026-01')).rejects.toMatchObject(REFUSAL);
    const day = { since: '2026-01-01', until: '2026-01-02', by: ['day'] } as const;
    await expect(readReport(moved.pool, { ...day, advertiserId: advertiser.id })).rejects.toMatchObject(
      REFUSAL,
    );
  } finally {
    await moved.drop();
  }
});
