import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeUuid } from '../../common/uuid.ts';
import { uuidAt } from '../click-ids.ts';

const BYTES = 16;
/** Click ids that are held before they are written. */
const HELD = 4_096;

/** Click ids that have to be in the ledger, 16 bytes each, in a temporary file: however many there are, they take no memory. */
export class ClickIdFile {
  private readonly folder = mkdtempSync(join(tmpdir(), 'tollway-replay-'));
  private readonly file = openSync(join(this.folder, 'click-ids'), 'wx+', 0o600);
  private readonly held = Buffer.alloc(HELD * BYTES);
  private holds = 0;
  private written = 0;

  get size(): number {
    return this.written + this.holds;
  }

  /** Adds a canonical UUID. */
  add(id: string): void {
    writeUuid(this.held, id, this.holds * BYTES);
    this.holds += 1;
    if (this.holds === HELD) this.write();
  }

  /** The ids from place `from` on, at most `limit`, in the order they were added. */
  slice(from: number, limit: number): string[] {
    this.write();
    const bytes = Buffer.alloc(Math.max(0, Math.min(limit, this.size - from)) * BYTES);
    readSync(this.file, bytes, 0, bytes.length, from * BYTES);
    return Array.from({ length: bytes.length / BYTES }, (_, at) => uuidAt(bytes, at * BYTES));
  }

  /** Removes the file. */
  close(): void {
    closeSync(this.file);
    rmSync(this.folder, { recursive: true, force: true });
  }

  private write(): void {
    writeSync(this.file, this.held, 0, this.holds * BYTES, this.written * BYTES);
    this.written += this.holds;
    this.holds = 0;
  }
}
