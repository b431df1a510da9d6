import type { Drill } from './drill.ts';
import { budgetDrills } from './faults/budgets.ts';
import { clickDrills } from './faults/clicks.ts';
import { databaseDrills } from './faults/database.ts';
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
  ...spoolDrills,
];

/** Alerts that no drill causes, with the reason, which completes the sentence `it …`. The tests of promtool cover them. */
export const NOT_CAUSED: Readonly<Record<string, string>> = {
  TollwayRecordsLost: 'needs Kafka or Kinesis: the Postgres broker deletes no record that was not read',
  TollwayInvariantBroken:
    'counts what stops the processor at once, mostly before a scrape: TollwayPartDown or TollwayPartRestarts fires then',
  TollwayCheckpointsStuck: 'needs Kafka or Kinesis: the Postgres broker has no checkpoints',
};
