import type { LinkKey } from '../../common/config/link-keys.ts';

/** What a run of sample clicks was asked for. */
export type SampleRequest = {
  /** Clicks per second, 1–`SAMPLE_RATE_MAX`; with `spike` the rate of the middle third, and a tenth of it before and after. */
  readonly ratePerSecond: number;
  /** 1–`SAMPLE_SECONDS_MAX` */
  readonly seconds: number;
  readonly spike: boolean;
};

export const SAMPLE_RATE_MAX = 2_000;
export const SAMPLE_SECONDS_MAX = 60;

/** What the thread that sends the clicks works with. */
export type SampleWork = SampleRequest & {
  readonly adIds: readonly number[];
  readonly linkKeys: readonly LinkKey[];
  /** Beginning of the links, such as `http://localhost:8080`. */
  readonly publicUrl: string;
};

/** Counts of a run, which the thread reports. */
export type SampleCounts = {
  readonly sent: number;
  /** Recorded and redirected to the page of the ad. */
  readonly answered: number;
  /** Redirected, but not recorded: they are never charged. */
  readonly unrecorded: number;
  /** Answered otherwise, or not at all. */
  readonly failed: number;
  /** Sent with the user agent of a bot. */
  readonly bots: number;
  /** Why the latest one failed; `null` if none did. */
  readonly failure: string | null;
};

export const NO_COUNTS: SampleCounts = {
  sent: 0,
  answered: 0,
  unrecorded: 0,
  failed: 0,
  bots: 0,
  failure: null,
};

/** Clicks that a run sends in all. */
export function totalClicks(request: SampleRequest): number {
  return clicksDue(request, request.seconds * 1_000);
}

/** Clicks that a run has to have sent after `elapsedMs`. */
export function clicksDue({ ratePerSecond, seconds, spike }: SampleRequest, elapsedMs: number): number {
  const elapsed = Math.min(elapsedMs / 1_000, seconds);
  if (!spike) return Math.floor(ratePerSecond * elapsed);
  const third = seconds / 3;
  const inSpike = Math.min(Math.max(elapsed - third, 0), third);
  // At least one click per second, so that a slow spike begins too.
  const base = Math.max(1, ratePerSecond / 10);
  return Math.floor(base * (elapsed - inSpike) + ratePerSecond * inSpike);
}
