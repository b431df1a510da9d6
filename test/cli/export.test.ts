import { expect, it } from 'vitest';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { tollwayHere } from '../support/run-here.ts';
import { suiteFolder } from '../support/temporary-folder.ts';

/** What `tollway export` leaves out for each of its options. */

const database = testDatabase();
const folder = suiteFolder();

it('exports what its options ask for, and nothing else', async () => {
  const [one, other] = [await addAccount(database.pool), await addAccount(database.pool)];
  const clicks = [one, other].map(({ ad }, index) => clickRecord({ ad, publisher: `site-${index}` }));
  await chargeBatch(database.pool, clicks);
  const { KAFKA_BROKERS: _, BROKER: __, ...inherited } = process.env;
  const env = { ...inherited, DATABASE_URL: database.url, DATA_DIR: folder };
  const exported = async (...options: string[]) => {
    const { stdout } = await tollwayHere(env, 'export', ...options);
    const lines = stdout.split('\n').filter((line) => line.startsWith('{'));
    return lines.map((line) => (JSON.parse(line) as { clickId: string }).clickId);
  };
  const [first, second] = clicks.map(({ click }) => click.clickId);
  const runs = await Promise.all([
    exported(),
    exported('--advertiser', String(one.advertiser.id)),
    exported('--campaign', String(other.campaign.id)),
    exported('--publisher', 'site-1'),
    exported('--until', '2020-01-01'),
  ]);
  // The clicks are still there, as if another one had been dropped with its day.
  await database.pool.query("update ledger_window set settled_floor = '2026-01-31T00:00:00Z'");
  const everything = await tollwayHere(env, 'export');
  expect(everything.stderr).toMatch(
    /^Days with clicks settled before 2026-01-31T00:00:00.000Z are left out.*\nuntil: .*\n$/,
  );
  const refused = await tollwayHere(env, 'export', '--since', '2026-01-30').catch((error: unknown) => error);
  expect(refused).toMatchObject({
    code: 1,
    stdout: '',
    stderr: expect.stringContaining('at or after 2026-01-31T00:00:00.000Z'),
  });
  expect(runs).toEqual([[first, second].toSorted(), [first], [second], [second], []]);
});
