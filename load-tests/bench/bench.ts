import type { Logger } from '../../common/telemetry/logger.ts';
import type { Progress } from '../progress.ts';
import type { ResourceScope } from './resource-scope.ts';
import type { BenchResult } from './result.ts';

/** What a bench is given. */
export type BenchContext = {
  readonly resources: ResourceScope;
  readonly progress: Progress;
  readonly logger: Logger;
  /** Rounds that medians are taken of. */
  readonly rounds: number;
  /** The environment for children, without any setting of Tollway's. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Length of the load on the embedded stack, in ms. */
  readonly embeddedMs: number;
};

/** Measures, and leaves what it started in `resources`. */
export type Bench = (context: BenchContext) => Promise<BenchResult[]>;
