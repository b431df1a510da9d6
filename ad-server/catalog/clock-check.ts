import type { Client } from '../../common/postgres/postgres.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { Problem } from '../../common/telemetry/problems.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import { readServerTime } from '../../ledger/server-time.ts';

/** Largest difference of the clocks that is no problem, in ms. Hosts that are synchronized by NTP differ by milliseconds. */
const OFFSET_MS_MAX = 5_000;
/** The answer of a server that takes longer, in ms, tells nothing about its clock. */
const ANSWER_MS_MAX = 1_000;

/** Compares the clock of this host, by which clicks get their times, with that of the database server. */
export class ClockCheck {
  private readonly log: ThrottledLog;
  /** The clock of this host minus that of the database server, in ms; `null` before the first measurement. */
  offsetMs: number | null = null;

  constructor(logger: Logger) {
    this.log = new ThrottledLog(logger, {
      failed:
        'The clock of this host differs from that of the database server. Clicks get its time: they can count for another day, or become dead letters. Synchronize the clocks (NTP)',
      recovered: 'The clock of this host agrees with that of the database server again',
    });
  }

  /** Measures the difference. Throws what the query throws. */
  async measure(client: Client): Promise<void> {
    const [sentMs, sentAt] = [Date.now(), performance.now()];
    const serverTime = await readServerTime(client);
    const tookMs = performance.now() - sentAt;
    if (tookMs > ANSWER_MS_MAX) return;
    this.offsetMs = sentMs + tookMs / 2 - serverTime.getTime();
    if (this.isOff) this.log.fail({ secondsAhead: Math.round(this.offsetMs / 1_000) });
    else this.log.recover();
  }

  /** The difference, if it is large enough to matter. */
  problems(): readonly Problem[] {
    if (!this.isOff) return [];
    const seconds = Math.round((this.offsetMs ?? 0) / 1_000);
    const reason = `is ${Math.abs(seconds)} s ${seconds > 0 ? 'ahead of' : 'behind'} that of the database server, and clicks get its time`;
    return [{ what: 'clock', reason, forMs: 0 }];
  }

  private get isOff(): boolean {
    return this.offsetMs !== null && Math.abs(this.offsetMs) > OFFSET_MS_MAX;
  }
}
