import pLimit from 'p-limit';
import type pg from 'pg';
import { type Client, createClient } from '../../common/postgres/postgres.ts';

/** Query timeout, in ms. */
const QUERY_MS_MAX = 5_000;

/**
 * Assigns shards to processors by leases. A lease is a PostgreSQL advisory lock of one connection: when the process dies, the database
 * releases it at once, so a lease has no clock and no expiry. A second lock, shared by all processors, counts them.
 */
export class ShardLeases {
  readonly held = new Set<string>();
  private readonly client: Client;
  private readonly stream: string;
  private readonly onLost: () => void;
  private readonly queue = pLimit(1);
  private isLost = false;

  private constructor(client: Client, stream: string, onLost: () => void) {
    this.client = client;
    this.stream = stream;
    this.onLost = onLost;
  }

  /** Joins the processors that read a stream. Calls `onLost` when the connection is lost, and every lease with it. */
  static async join(databaseUrl: string, stream: string, onLost: () => void): Promise<ShardLeases> {
    const client = createClient(databaseUrl, 'shard leases', QUERY_MS_MAX);
    const leases = new ShardLeases(client, stream, onLost);
    client.on('error', () => {});
    client.on('end', () => leases.lose());
    try {
      await leases.connect();
      return leases;
    } catch (error) {
      await client.end().catch(() => {});
      throw error;
    }
  }

  private async connect(): Promise<void> {
    const { client } = this;
    await client.connect();
    // The server detects a lost host after about 15 s and then releases its locks.
    for (const [setting, seconds] of [
      ['idle', 5],
      ['interval', 5],
      ['count', 2],
    ] as const) {
      await client.query(`set tcp_keepalives_${setting} = ${seconds}`);
    }
    await client.query('select pg_advisory_lock_shared(hashtextextended($1, 0))', [this.membership]);
  }

  private lose(): void {
    this.held.clear();
    if (this.isLost) return;
    this.isLost = true;
    this.onLost();
  }

  /** After a failure it is unknown which locks the connection holds, so this closes it, which releases all. */
  private async query<T extends pg.QueryResultRow>(sql: string, name: string): Promise<T | undefined> {
    try {
      // A connection runs one query at a time.
      return await this.queue(async () => (await this.client.query<T>(sql, [name])).rows[0]);
    } catch (error) {
      this.lose();
      this.client.end().catch(() => {});
      throw error;
    }
  }

  private get membership(): string {
    return `tollway members ${this.stream}`;
  }

  private lockOf(shard: string): string {
    return `tollway shard ${this.stream} ${shard}`;
  }

  /** The number of processors that read the stream, including this one. */
  async countMembers(): Promise<number> {
    const row = await this.query<{ members: number }>(
      `select count(*)::int as members from pg_locks, hashtextextended($1, 0) as key
       where locktype = 'advisory' and granted and mode = 'ShareLock' and objsubid = 1
         and database = (select oid from pg_database where datname = current_database())
         and (classid::bigint << 32 | objid::bigint) = key`,
      this.membership,
    );
    return Math.max(1, row?.members ?? 1);
  }

  /** Acquires the lease of a shard. Returns `false` if another processor holds it. */
  async acquire(shard: string): Promise<boolean> {
    // PostgreSQL counts repeated locks and would need as many releases.
    if (this.held.has(shard)) return true;
    const row = await this.query<{ acquired: boolean }>(
      'select pg_try_advisory_lock(hashtextextended($1, 0)) as acquired',
      this.lockOf(shard),
    );
    if (row?.acquired) this.held.add(shard);
    return row?.acquired ?? false;
  }

  /** Releases the lease of a shard. */
  async release(shard: string): Promise<void> {
    if (!this.held.delete(shard)) return;
    await this.query('select pg_advisory_unlock(hashtextextended($1, 0))', this.lockOf(shard));
  }

  /** Closes the connection, which releases every lease. */
  async leave(): Promise<void> {
    this.held.clear();
    await this.client.end();
  }
}
