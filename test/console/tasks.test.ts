import { afterEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../../common/config/config.ts';
import { runAlone } from '../../console/tasks/periodic-task.ts';
import { startTasks } from '../../console/tasks/start-tasks.ts';
import { addCampaign } from '../../ledger/accounts/campaigns.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { takeEvents } from '../support/webhook-events.ts';

const database = testDatabase();
let running: { stop: () => Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(running.map(({ stop }) => stop()));
  running = [];
});

const LOCK = 1;

describe('a task', () => {
  it('runs once at a time, however many consoles there are', async () => {
    let now = 0;
    let most = 0;
    let runs = 0;
    const run = async () => {
      now += 1;
      runs += 1;
      most = Math.max(most, now);
      await database.pool.query('select pg_sleep(0.05)');
      now -= 1;
    };
    for (let round = 0; round < 3; round += 1) {
      const ran = await Promise.all([1, 2, 3].map(() => runAlone(database.pool, { lock: LOCK, run })));
      expect(ran).toContain(true);
    }
    expect([most, runs >= 3]).toEqual([1, true]);
  });

  it('that fails leaves no lock', async () => {
    const failing = { lock: LOCK, run: () => Promise.reject(new Error('no')) };
    await expect(runAlone(database.pool, failing)).rejects.toThrow('no');
    // The connection of the failed run is closed, and the server notices that a little later.
    const runAgain = () => runAlone(database.pool, { lock: LOCK, run: async () => {} });
    await expect.poll(runAgain).toBe(true);
  });
});

describe('the tasks of two consoles', () => {
  it('note the start of a campaign and books that do not balance, once', async () => {
    const { advertiser } = await addAccount(database.pool);
    await database.pool.query('update advertiser set budget_micros = budget_micros + 1 where id = $1', [
      advertiser.id,
    ]);
    const { id } = await addCampaign(database.pool, advertiser.id, 'due', { startsAt: '2100-01-01' });
    await database.pool.query('update campaign set starts_at = now() where id = $1', [id]);
    await takeEvents(database.pool);
    running = [1, 2].map(() => startTasks(database.url, parseConfig({}), silent));
    const seen: string[] = [];
    await expect
      .poll(
        async () => {
          seen.push(...(await takeEvents(database.pool)).map(({ type }) => type));
          return [...seen].sort();
        },
        { timeout: 20_000 },
      )
      .toEqual(['books.out_of_balance', 'campaign.started']);
  });
});
