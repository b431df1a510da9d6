import { counted } from '../../common/counted.ts';
import type { Reconciliation } from '../../ledger/reconcile.ts';
import { type MicrosHistogram, percentileMs } from '../load/micros-histogram.ts';
import { LATE_MS_MAX } from '../load/offer-load.ts';
import type { Verdict } from '../report/verdict.ts';
import type { Format } from './formats.ts';
import type { HttpCounts } from './http-target.ts';
import type { LineCounts } from './line-counts.ts';
import type { Pacing, Speed } from './pacing.ts';
import type { SettledCheck } from './settled-check.ts';

export type ReplayMethod = 'broker' | 'http';

/** Part of the clicks that must have begun in time for the rhythm to count as kept. */
const IN_TIME_SHARE_MIN = 0.99;

/** All that was seen of a replay. */
export type ReplayResult = {
  readonly file: string;
  readonly format: Format;
  readonly via: ReplayMethod;
  readonly speed: Speed;
  readonly interrupted: boolean;
  readonly lineCounts: LineCounts;
  readonly pacing: Pacing;
  /** Clicks that the broker or the ad server has taken. */
  readonly replayed: number;
  readonly elapsedMs: number;
  readonly http: HttpCounts | null;
  readonly ledger: SettledCheck;
  readonly reconciliation: Reconciliation;
};

/** What a replay showed, as `--json` prints it. */
export type ReplayReport = {
  readonly file: string;
  readonly format: Format;
  readonly via: ReplayMethod;
  readonly speed: string;
  readonly verdict: Verdict;
  /** What speaks against it; empty when it passed. */
  readonly reasons: readonly string[];
  readonly interrupted: boolean;
  readonly lines: number;
  readonly replayed: number;
  readonly broken: number;
  /** The first of them. */
  readonly brokenLines: readonly { readonly line: number; readonly why: string }[];
  readonly skipped: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly replayedPerSecond: number;
  /** How late clicks began against the rhythm; `null` at full speed. */
  readonly latenessMs: { readonly p50: number; readonly p99: number; readonly max: number } | null;
  readonly http: {
    readonly recorded: number;
    readonly unrecorded: number;
    readonly failed: number;
    readonly failures: Readonly<Record<string, number>>;
    readonly shed: number;
    readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number };
  } | null;
  readonly ledger: SettledCheck;
  readonly reconciliation: {
    readonly balanced: boolean;
    readonly missing: number;
    readonly problems: readonly string[];
  };
};

/** Sums a replay up and judges it. */
export function replayReportOf(result: ReplayResult): ReplayReport {
  const { lineCounts, pacing, http, ledger, reconciliation, speed, elapsedMs } = result;
  const seconds = elapsedMs / 1_000;
  const failed = http === null ? 0 : http.failed + http.underWay;
  const broken = [
    ...violatedGuarantees(result, failed),
    ...(http !== null && http.shed > 0
      ? [`${counted(http.shed, 'click was', 'clicks were')} shed: too many requests were under way`]
      : []),
  ];
  const isSlow = pacing.inTime < pacing.begun * IN_TIME_SHARE_MIN;
  const unmeasured = [
    ...(result.interrupted ? ['it was ended early'] : []),
    ...(isSlow
      ? [
          `the rhythm was not kept: ${pacing.begun - pacing.inTime} of ${counted(pacing.begun, 'click')} began more than ` +
            `${LATE_MS_MAX} ms late; a lower --speed can be kept`,
        ]
      : []),
  ];
  return {
    file: result.file,
    format: result.format,
    via: result.via,
    speed: speed === 'max' ? 'max' : `${speed}x`,
    verdict: broken.length > 0 ? 'failed' : unmeasured.length > 0 ? 'not_measured' : 'passed',
    reasons: [...broken, ...unmeasured],
    interrupted: result.interrupted,
    lines: lineCounts.lines,
    replayed: result.replayed,
    broken: lineCounts.broken,
    brokenLines: [...lineCounts.shown]
      .sort((one, other) => one.line - other.line)
      .map(({ line, why }) => ({ line, why })),
    skipped: Object.fromEntries(lineCounts.skipped),
    seconds,
    replayedPerSecond: result.replayed / Math.max(seconds, 0.001),
    latenessMs: speed === 'max' ? null : millisOf(pacing.latenessMicros),
    http:
      http === null
        ? null
        : {
            recorded: http.recorded,
            unrecorded: http.unrecorded,
            failed,
            failures: Object.fromEntries(http.failures),
            shed: http.shed,
            latencyMs: millisOf(http.latencyMicros),
          },
    ledger,
    reconciliation: {
      balanced: reconciliation.balanced,
      missing: reconciliation.missing,
      problems: reconciliation.problems,
    },
  };
}

function violatedGuarantees({ ledger, reconciliation, http }: ReplayResult, failed: number): string[] {
  const why = [...(http?.failures ?? [])].map(([reason, count]) => `${reason}: ${count}`).join(', ');
  const found: [boolean, string][] = [
    [
      ledger.missing > 0,
      `${counted(ledger.missing, 'click is', 'clicks are')} not in the ledger: ${ledger.missingIds.join(' ')}`,
    ],
    [!reconciliation.balanced, `the books do not balance: ${reconciliation.problems.join('; ')}`],
    [
      reconciliation.missing > 0,
      `${counted(reconciliation.missing, 'accepted click is', 'accepted clicks are')} missing from the books`,
    ],
    [failed > 0, `${counted(failed, 'redirect')} failed${why === '' ? '' : ` (${why})`}`],
    [
      (http?.unrecorded ?? 0) > 0,
      `${counted(http?.unrecorded ?? 0, 'click was', 'clicks were')} redirected without being recorded`,
    ],
  ];
  return found.flatMap(([holds, text]) => (holds ? [text] : []));
}

function millisOf(micros: MicrosHistogram): { p50: number; p99: number; max: number } {
  return { p50: percentileMs(micros, 50), p99: percentileMs(micros, 99), max: percentileMs(micros, 100) };
}
