import pLimit from 'p-limit';
import type pg from 'pg';
import { type Client, createClient } from '../../common/postgres/postgres.ts';

/** Longest wait for an answer about a lease, in ms. */
const QUERY_MS_MAX = 5_000;

/**
 * Who reads which shard. A lease is a lock that the database holds for one connection: whoever dies lets go at once, and
 * there is no clock and no expiry in it. A second lock that all share says how many we are.
 */
export class ShardLeases {
  readonly held = new Set<string>();
  private readonly client: Client;
  private readonly stream: string;
  private readonly onLost: () => void;
  private readonly asking = pLimit(1);
  private isLost = false;

  private constructor(client: Client, stream: string, onLost: () => void) {
    this.client = client;
    this.stream = stream;
    this.onLost = onLost;
  }

  /** Joins those who read a stream. `onLost` hears when the connection, and with it every lease, is gone. */
  static async join(databaseUrl: string, stream: string, onLost: () => void): Promise<ShardLeases> {
    const client = createClient(databaseUrl, 'shard leases', QUERY_MS_MAX);
    const leases = new ShardLeases(client, stream, onLost);
    client.on('error', () => {});
    client.on('end', () => leases.lose());
    try {
      await leases.begin();
      return leases;
    } catch (error) {
      await client.end().catch(() => {});
      throw error;
    }
  }

  private async begin(): Promise<void> {
    const { client } = this;
    await client.connect();
    // The server lets go of a host that is gone without a word after some 15 s.
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

  /** After a failure nobody knows what the database holds for us: it lets go of all with the connection. */
  private async ask<T extends pg.QueryResultRow>(sql: string, name: string): Promise<T | undefined> {
    try {
      // One after the other, as the connection takes them.
      return await this.asking(async () => (await this.client.query<T>(sql, [name])).rows[0]);
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

  /** How many we are, this one included. */
  async countMembers(): Promise<number> {
    const row = await this.ask<{ members: number }>(
      `select count(*)::int as members from pg_locks, hashtextextended($1, 0) as key
       where locktype = 'advisory' and granted and mode = 'ShareLock' and objsubid = 1
         and database = (select oid from pg_database where datname = current_database())
         and (classid::bigint << 32 | objid::bigint) = key`,
      this.membership,
    );
    return Math.max(1, row?.members ?? 1);
  }

  /** Takes a shard, if nobody has it. */
  async take(shard: string): Promise<boolean> {
    // The database would count it twice, and let go of it only after as many releases.
    if (this.held.has(shard)) return true;
    const row = await this.ask<{ taken: boolean }>(
      'select pg_try_advisory_lock(hashtextextended($1, 0)) as taken',
      this.lockOf(shard),
    );
    if (row?.taken) this.held.add(shard);
    return row?.taken ?? false;
  }

  /** Lets go of a shard. */
  async release(shard: string): Promise<void> {
    if (!this.held.delete(shard)) return;
    await this.ask('select pg_advisory_unlock(hashtextextended($1, 0))', this.lockOf(shard));
  }

  /** Lets go of everything. */
  async leave(): Promise<void> {
    this.held.clear();
    await this.client.end();
  }
}
