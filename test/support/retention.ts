import type { Retention } from '../../ledger/partitions.ts';

/** What the template's partitions follow from. Fewer days than the settings' defaults: every test copies them. */
export const RETENTION: Retention = { clickAgeDays: 14, linkLifeDays: 30 };
