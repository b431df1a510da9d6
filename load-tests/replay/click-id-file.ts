import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** Click ids that are buffered in memory before they are written. */
const BUFFERED_IDS_MAX = 4_096;

/** The distinct click ids that must be in the ledger, in a temporary SQLite file, so that memory does not grow with their number. */
export class ClickIdFile {
  private readonly folder = mkdtempSync(join(tmpdir(), 'tollway-replay-'));
  private readonly database = new DatabaseSync(join(this.folder, 'click-ids'));
  private held: string[] = [];
  private count = 0;

  constructor() {
    // The file is not used after a crash, so it needs no journal.
    this.database.exec(`pragma journal_mode = off; pragma synchronous = off;
      create table click (position integer primary key, id blob not null unique)`);
  }

  /** The number of distinct ids. */
  get size(): number {
    this.write();
    return this.count;
  }

  /** Adds a canonical UUID, unless the file has it already. */
  add(id: string): void {
    this.held.push(id);
    if (this.held.length === BUFFERED_IDS_MAX) this.write();
  }

  /** At most `limit` ids from index `from` on, in insertion order. */
  slice(from: number, limit: number): string[] {
    this.write();
    const rows = this.database
      .prepare('select lower(hex(id)) as id from click where position > ? order by position limit ?')
      .all(from, limit) as { id: string }[];
    return rows.map(({ id }) => id.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'));
  }

  /** Removes the file. */
  close(): void {
    this.database.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  private write(): void {
    if (this.held.length === 0) return;
    const { changes } = this.database
      .prepare("insert or ignore into click (id) select unhex(value, '-') from json_each(?)")
      .run(JSON.stringify(this.held));
    this.count += Number(changes);
    this.held = [];
  }
}
