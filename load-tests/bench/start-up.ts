import { lambdaRic } from '../../emulators/lambda/runtime-client.ts';
import type { Bench } from './bench.ts';
import { buildFunctions, measureBundleSizes } from './built-functions.ts';
import { measureFirstBatches } from './first-batch.ts';
import { openFunctionDatabase } from './function-database.ts';
import { measureStarts } from './start-times.ts';
import { measureWarm } from './warm-function.ts';

/** Measures the functions in their runtimes: bundle size, start time, first batch, and memory and time of warm invocations. */
export const benchStartUp: Bench = async (context) => {
  await buildFunctions(context);
  await lambdaRic();
  // Before the database starts, because its background work would slow down the starts.
  const starts = await measureStarts(context);
  const database = await openFunctionDatabase(context);
  const first = await measureFirstBatches(database, context);
  const warm = await measureWarm(database, context);
  await database.assertBalanced(first.clicks + warm.clicks);
  return [...measureBundleSizes(), ...starts, ...first.results, ...warm.results];
};
