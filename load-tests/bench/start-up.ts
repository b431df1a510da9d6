import { lambdaRic } from '../../emulators/lambda/runtime-client.ts';
import type { Bench } from './bench.ts';
import { buildFunctions, measureBundleSizes } from './built-functions.ts';
import { measureFirstBatches } from './first-batch.ts';
import { openFunctionDatabase } from './function-database.ts';
import { measureStarts } from './start-times.ts';
import { measureWarm } from './warm-function.ts';

/** The functions as their platforms run them: how large they are, how fast they start, what they need once they are warm. */
export const benchStartUp: Bench = async (context) => {
  await buildFunctions(context);
  await lambdaRic();
  // Before there is a database, which would work in the background meanwhile.
  const starts = await measureStarts(context);
  const database = await openFunctionDatabase(context);
  const first = await measureFirstBatches(database, context);
  const warm = await measureWarm(database, context);
  await database.assertBalanced(first.clicks + warm.clicks);
  return [...measureBundleSizes(), ...starts, ...first.results, ...warm.results];
};
