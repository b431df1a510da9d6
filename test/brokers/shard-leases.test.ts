import { describe, expect, it } from 'vitest';
import { ShardLeases } from '../../brokers/kinesis/shard-leases.ts';
import { createTestDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';

describe('a lease of a shard', () => {
  it('is released by one release, even if it was acquired twice', async () => {
    const database = await createTestDatabase();
    const [one, other] = [
      await ShardLeases.join(database.url, 'clicks', () => undefined),
      await ShardLeases.join(database.url, 'clicks', () => undefined),
    ];
    try {
      // An assignment acquires it, cannot read its checkpoint, and is repeated.
      expect(await one.acquire('shard 1')).toBe(true);
      expect(await one.acquire('shard 1')).toBe(true);
      await one.release('shard 1');
      expect(await other.acquire('shard 1')).toBe(true);
    } finally {
      await one.leave();
      await other.leave();
      await database.drop();
    }
  });
});

it('a lease that was perhaps acquired when a query timed out is released with the connection', {
  timeout: 60_000,
}, async () => {
  const database = await createTestDatabase();
  let lost = 0;
  const one = await ShardLeases.join(database.url, 'clicks', () => {
    lost += 1;
  });
  const other = await ShardLeases.join(database.url, 'clicks', () => undefined);
  try {
    expect(await one.acquire('shard 1')).toBe(true);
    const { rows } = await database.pool.query<{ pid: number }>(
      `select pid from pg_stat_activity where datname = current_database() and application_name = 'tollway shard leases'
       order by backend_start limit 1`,
    );
    const pid = rows[0]?.pid ?? 0;
    process.kill(pid, 'SIGSTOP');
    await expect(one.release('shard 1')).rejects.toThrow('timeout');
    process.kill(pid, 'SIGCONT');
    expect(lost).toBe(1);
    expect(one.held.size).toBe(0);
    await until('the lease', () => other.acquire('shard 1'), 10_000);
  } finally {
    await one.leave().catch(() => undefined);
    await other.leave();
    await database.drop();
  }
});
