import { TollwayError } from '../../common/errors.ts';
import { unixMs } from '../../common/unix-time.ts';

/** Step at which offsets are looked up, in ms: zones change their offset only at full quarters of an hour. */
const STEP_MS = 900_000;
const TIME = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d(?:\.\d{1,9})?)?$/;
/** `YYMMDDHH`, as in Avazu's data set. */
const HOUR = /^(\d\d)(\d\d)(\d\d)(\d\d)$/;
const OFFSET = /^GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?$/;

/** Parses a time without a zone to Unix ms; `null` if the text is not such a time. */
export type LocalTime = (text: string) => number | null;

/** Whether a text is a time without a zone. `YYMMDDHH` does not count, because it can also be a number of seconds. */
export function isLocalTime(text: string): boolean {
  return TIME.test(text) && naiveMs(text) !== null;
}

/**
 * Creates a parser for times in `zone`: a name such as `Asia/Shanghai`, or an offset such as `+08:00`. If the end of daylight saving time makes
 * a time ambiguous, the earlier one is returned. Throws `bad_time_zone`.
 */
export function createLocalTime(zone: string): LocalTime {
  const offsetMs = createOffsets(zone);
  return (text) => {
    const naive = naiveMs(text);
    if (naive === null) return null;
    // The offset of the day before is still that of daylight saving time, which gives the earlier of two possible times.
    const early = naive - offsetMs(naive - 86_400_000);
    return offsetMs(early) === offsetMs(naive - 86_400_000) ? early : naive - offsetMs(early);
  };
}

/** The Unix ms of a local time read as UTC. */
function naiveMs(text: string): number | null {
  const [, date, minutes, seconds = ':00'] = TIME.exec(text) ?? [];
  if (date !== undefined) return unixMs(`${date}T${minutes}${seconds}Z`);
  const [, year, month, day, hour] = HOUR.exec(text) ?? [];
  return year === undefined ? null : unixMs(`20${year}-${month}-${day}T${hour}:00:00Z`);
}

function createOffsets(zone: string): (atMs: number) => number {
  let format: Intl.DateTimeFormat;
  try {
    format = new Intl.DateTimeFormat('en-US', { timeZone: zone, timeZoneName: 'longOffset' });
  } catch {
    const message = `Expected a time zone such as UTC, Asia/Shanghai or +08:00, got "${zone}"`;
    throw new TollwayError('bad_time_zone', message);
  }
  const known = new Map<number, number>();
  return (atMs) => {
    const step = Math.floor(atMs / STEP_MS);
    let offset = known.get(step);
    if (offset === undefined) {
      const parts = format.formatToParts(step * STEP_MS);
      const name = parts.find(({ type }) => type === 'timeZoneName')?.value ?? '';
      const [, sign, hours, minutes, seconds = '0'] = OFFSET.exec(name) ?? [];
      const ms = (Number(hours ?? 0) * 3_600 + Number(minutes ?? 0) * 60 + Number(seconds)) * 1_000;
      offset = sign === '-' ? -ms : ms;
      if (known.size > 1_000) known.clear();
      known.set(step, offset);
    }
    return offset;
  };
}
