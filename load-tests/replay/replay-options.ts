import type { Config } from '../../common/config/config.ts';
import type { ColumnMap, TimeOptions } from './csv-columns.ts';
import type { Format } from './formats.ts';
import type { Speed } from './pacing.ts';

/** Whether click events go to the broker, or requests to the ad server. */
export type ReplayMethod = 'broker' | 'http';

/** The options of a replay. */
export type ReplayOptions = {
  readonly speed: Speed;
  readonly via: ReplayMethod;
  readonly format: Format | 'auto';
  readonly columns: ColumnMap | null;
  readonly times: TimeOptions;
  /** Proxies whose `X-Forwarded-For` is trusted in a log; `null`: those of TRUSTED_PROXIES. */
  readonly trustedProxies: Config['TRUSTED_PROXIES'] | null;
  /** URL of the ad server for requests; `null`: that of the stack. */
  readonly target: string | null;
  readonly waitMs: number;
};
