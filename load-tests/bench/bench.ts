import type { Logger } from '../../common/telemetry/logger.ts';
import type { ProgressDisplay } from '../progress-display.ts';
import type { Checkout } from './checkout.ts';
import type { ResourceScope } from './resource-scope.ts';
import type { BenchResult } from './result.ts';

/** The context of a benchmark. */
export type BenchContext = {
  readonly resources: ResourceScope;
  readonly progress: ProgressDisplay;
  readonly logger: Logger;
  /** Number of measured rounds. Results are medians over them. */
  readonly rounds: number;
  /** Settings of `--set` for what is measured, beside the defaults. */
  readonly settings: Readonly<Record<string, string>>;
  /** The environment for child processes, without settings of Tollway. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Length of the load on the embedded stack, in ms. */
  readonly embeddedMs: number;
  /** Clicks per second of `cpu-per-click`. */
  readonly rate: number;
  /** The commit to compare with, of `--against`; `null` without it. */
  readonly against: Checkout | null;
};

/** Runs a benchmark. Started processes and other resources are added to `resources`; the caller closes them. */
export type Bench = (context: BenchContext) => Promise<BenchResult[]>;
