import type { ReadRecord } from '../../contract/click-event.ts';
import { identityOf } from '../../ledger/charge/dead-letters.ts';
import type { Settlement } from '../charge/settlement.ts';

/** Maximum number of commit probes kept. Sources read and confirm them twice a second. */
const COMMIT_PROBES_MAX = 10_000;

/**
 * Remembers one record of each committed transaction until a checkpoint has found it in the database: a click by its id, an unreadable record
 * by the identity of its dead letter. A database that fails over can lose a committed transaction. A checkpoint must not pass the lost
 * records, so `moveCheckpoints` looks for the probe first.
 */
export class CommitProbes {
  private readonly open = new Set<string>();

  /** Remembers a record of a batch that was just committed. `outcomes[i]` belongs to `batch[i]`. */
  remember(batch: readonly ReadRecord[], outcomes: Settlement['outcomes']): void {
    const probe = probeOf(batch, outcomes);
    if (probe === null) return;
    this.open.add(probe);
    if (this.open.size <= COMMIT_PROBES_MAX) return;
    const [oldest] = this.open;
    if (oldest !== undefined) this.open.delete(oldest);
  }

  /** Click ids and identities of dead letters, oldest first. */
  list(): string[] {
    return [...this.open];
  }

  forget(probes: readonly string[]): void {
    for (const probe of probes) this.open.delete(probe);
  }
}

/** The last record that got a row in this transaction (in the ledger or, if rejected, in the dead letters), or `null` if none did. */
function probeOf(batch: readonly ReadRecord[], outcomes: Settlement['outcomes']): string | null {
  for (let at = batch.length - 1; at >= 0; at -= 1) {
    const record = batch[at];
    const outcome = outcomes[at]?.outcome ?? 'duplicate';
    if (record === undefined || record.is === 'watermark' || outcome === 'duplicate') continue;
    return record.is === 'click' ? record.click.clickId : identityOf(record);
  }
  return null;
}
