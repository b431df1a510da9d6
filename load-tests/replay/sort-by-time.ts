import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { TollwayError } from '../../common/errors.ts';
import type { LineResult, RecordedClick } from './line-result.ts';

/** SQLITE_FULL; https://www.sqlite.org/rescode.html#full */
const DISK_FULL = 13;

/**
 * Yields the clicks of a file in the order of their times, with equal times in the order of the file, after all other lines. Sorts in a
 * temporary SQLite file with bounded memory. Throws `disk_full`.
 */
export async function* sortByTime(readings: AsyncIterable<LineResult>): AsyncGenerator<LineResult> {
  const folder = mkdtempSync(join(tmpdir(), 'tollway-replay-'));
  const database = new DatabaseSync(join(folder, 'sorted'));
  try {
    // The file is not used after a crash, so it needs no journal. Sorting also uses files instead of memory.
    database.exec(`pragma journal_mode = off; pragma synchronous = off; pragma temp_store = file;
      create table click (clicked_at integer, line integer, reading text)`);
    const insert = database.prepare('insert into click values (?, ?, ?)');
    database.exec('begin');
    for await (const reading of readings) {
      if (reading.is !== 'event' && reading.is !== 'request') yield reading;
      else insert.run(reading.clickedAt, reading.line, JSON.stringify(reading));
    }
    database.exec('commit');
    const sorted = database.prepare('select reading from click order by clicked_at, line');
    for (const { reading } of sorted.iterate()) {
      // The JSON was written above.
      yield JSON.parse(String(reading)) as RecordedClick;
    }
  } catch (error) {
    if (!(error instanceof Error && 'errcode' in error && error.errcode === DISK_FULL)) throw error;
    const message = `The disk is full; cannot sort the file in ${tmpdir()}. Set TMPDIR to another folder`;
    throw new TollwayError('disk_full', message, { cause: error });
  } finally {
    database.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
