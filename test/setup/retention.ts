import type { Retention } from '../../migrations/partitions.ts';

/** What the template's partitions follow from: the defaults of the settings. */
export const RETENTION: Retention = { clickAgeDays: 14, linkLifeDays: 90 };
