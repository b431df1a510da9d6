/**
 * Installs into the cache what some tests need and no dependency brings: Kafka's jars, AWS's runtime client for Lambda, osls, the Functions
 * Framework. Prints one line for each that cannot be installed, and then exits with 1. Tests install nothing: they skip what is not there.
 */
import { errorMessage } from '../../common/errors.ts';
import { jarsAreMissing, kafkaJars } from '../../emulators/kafka/jars.ts';
import { lambdaRic } from '../../emulators/lambda/runtime-client.ts';
import { functionsFramework } from '../functions/functions-framework.ts';
import { oslsFolder } from '../functions/osls.ts';

async function installKafka(): Promise<void> {
  const missing = await jarsAreMissing();
  if (missing !== null) throw new Error(`Kafka is missing: install ${missing}`);
  await kafkaJars();
}

for (const install of [installKafka, lambdaRic, oslsFolder, functionsFramework]) {
  try {
    await install();
  } catch (error) {
    process.stderr.write(`${errorMessage(error)}\n`);
    process.exitCode = 1;
  }
}
