import type { Drill } from './drill.ts';
import { budgetDrills } from './faults/budgets.ts';
import { clickDrills } from './faults/clicks.ts';
import { constraintDrills } from './faults/constraints.ts';
import { databaseDrills } from './faults/database.ts';
import { kafkaDrills } from './faults/kafka.ts';
import { partDrills } from './faults/parts.ts';
import { rowDrills } from './faults/rows.ts';
import { spoolDrills } from './faults/spools.ts';
import { webhookDrills } from './faults/webhooks.ts';

/** All drills, in the order of the table. Those that leave damage behind are last. */
export const drills: readonly Drill[] = [
  ...clickDrills,
  ...budgetDrills,
  ...rowDrills,
  ...webhookDrills,
  ...partDrills,
  ...databaseDrills,
  ...constraintDrills,
  ...kafkaDrills,
  ...spoolDrills,
];
