import { lambdaRic } from '../../emulators/lambda/runtime-client.ts';
import type { Bench } from './bench.ts';
import { buildFunctions, weighBundles } from './built-functions.ts';
import { measureFirstBatches } from './first-batch.ts';
import { openFunctionDatabase } from './function-database.ts';
import { measureStarts } from './start-times.ts';
import { measureWarm } from './warm-function.ts';

/** The functions as their platforms run them: how large they are, how fast they start, what they need once they are warm. */
export const benchStartUp: Bench = async (around) => {
  await buildFunctions(around);
  await lambdaRic();
  // Before there is a database, which would work in the background meanwhile.
  const starts = await measureStarts(around);
  const database = await openFunctionDatabase(around);
  const first = await measureFirstBatches(database, around);
  const warm = await measureWarm(database, around);
  await database.assertBooks(first.clicks + warm.clicks);
  return [...weighBundles(), ...starts, ...first.results, ...warm.results];
};
