import type { Retention } from '../../ledger/partitions.ts';

/** Retention of the template database. Fewer days than the defaults, because every suite copies the partitions. */
export const RETENTION: Retention = { clickAgeDays: 14, linkLifeDays: 30, evidenceDays: 20 };
