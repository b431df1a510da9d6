import { counted } from '../../common/counted.ts';
import type { Reconciliation } from '../../ledger/reconciliation/reconcile.ts';
import { type MicrosHistogram, percentileMs } from '../load/micros-histogram.ts';
import { LATE_MS_MAX } from '../load/offer-load.ts';
import type { Verdict } from '../report/verdict.ts';
import type { Format } from './formats.ts';
import type { HttpCounts } from './http-target.ts';
import type { LineCounts } from './line-counts.ts';
import type { Pacing, Speed } from './pacing.ts';
import type { ReplayMethod } from './replay-options.ts';
import type { SettledCheck } from './settled-check.ts';

/** Share of the clicks that must be sent in time for a replay to count as measured. */
const IN_TIME_SHARE_MIN = 0.99;

/** The measurements of a replay. */
export type ReplayResult = {
  readonly file: string;
  readonly format: Format;
  readonly via: ReplayMethod;
  readonly speed: Speed;
  readonly interrupted: boolean;
  readonly lineCounts: LineCounts;
  readonly pacing: Pacing;
  /** Clicks that the broker or the ad server accepted. */
  readonly replayed: number;
  readonly elapsedMs: number;
  readonly http: HttpCounts | null;
  readonly ledger: SettledCheck;
  readonly reconciliation: Reconciliation;
};

/** The report of a replay, as `--json` prints it. */
export type ReplayReport = {
  readonly file: string;
  readonly format: Format;
  readonly via: ReplayMethod;
  readonly speed: string;
  readonly verdict: Verdict;
  /** Why the replay did not pass; empty if it passed. */
  readonly reasons: readonly string[];
  readonly interrupted: boolean;
  readonly lines: number;
  readonly replayed: number;
  readonly broken: number;
  /** The first broken lines. */
  readonly brokenLines: readonly { readonly line: number; readonly why: string }[];
  readonly skipped: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly replayedPerSecond: number;
  /** Delay of clicks after their due time; `null` at full speed. */
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

/** Summarizes and judges a replay. */
export function replayReportOf(result: ReplayResult): ReplayReport {
  const { lineCounts, pacing, http, ledger, reconciliation, speed, elapsedMs } = result;
  const seconds = elapsedMs / 1_000;
  const failed = http === null ? 0 : http.failed + http.underWay;
  return {
    ...judgeReplay(result, failed),
    file: result.file,
    format: result.format,
    via: result.via,
    speed: speed === 'max' ? 'max' : `${speed}x`,
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

function judgeReplay(result: ReplayResult, failed: number): Pick<ReplayReport, 'verdict' | 'reasons'> {
  const { http, pacing } = result;
  const violated = [
    ...violatedGuarantees(result, failed),
    ...(http !== null && http.shed > 0
      ? [`${counted(http.shed, 'click was', 'clicks were')} shed: too many requests were under way`]
      : []),
  ];
  const isSlow = pacing.inTime < pacing.begun * IN_TIME_SHARE_MIN;
  const unmeasured = [
    ...(result.interrupted ? ['the replay was interrupted'] : []),
    ...(isSlow
      ? [
          `this machine was too slow for the speed: ${pacing.begun - pacing.inTime} of ${counted(pacing.begun, 'click')} were sent more than ` +
            `${LATE_MS_MAX} ms late; use a lower --speed`,
        ]
      : []),
  ];
  return {
    verdict: violated.length > 0 ? 'failed' : unmeasured.length > 0 ? 'not_measured' : 'passed',
    reasons: [...violated, ...unmeasured],
  };
}

function violatedGuarantees({ ledger, reconciliation, http }: ReplayResult, failed: number): string[] {
  const failures = [...(http?.failures ?? [])].map(([reason, count]) => `${reason}: ${count}`).join(', ');
  const checks: [boolean, string][] = [
    [
      ledger.missing > 0,
      `${counted(ledger.missing, 'click is', 'clicks are')} not in the ledger: ${ledger.missingIds.join(' ')}`,
    ],
    [!reconciliation.balanced, `the books do not balance: ${reconciliation.problems.join('; ')}`],
    [
      reconciliation.missing > 0,
      `${counted(reconciliation.missing, 'accepted click is', 'accepted clicks are')} missing from the books`,
    ],
    [failed > 0, `${counted(failed, 'redirect')} failed${failures === '' ? '' : ` (${failures})`}`],
    [
      (http?.unrecorded ?? 0) > 0,
      `${counted(http?.unrecorded ?? 0, 'click was', 'clicks were')} redirected without being recorded`,
    ],
  ];
  return checks.flatMap(([isViolated, text]) => (isViolated ? [text] : []));
}

function millisOf(micros: MicrosHistogram): { p50: number; p99: number; max: number } {
  return { p50: percentileMs(micros, 50), p99: percentileMs(micros, 99), max: percentileMs(micros, 100) };
}
