/**
 * Installs tools into the cache that some tests need and that are no dependencies: Kafka's jars, AWS's runtime client for Lambda, osls, the Functions
 * Framework. Prints one line for each that cannot be installed, and then exits with 1. Tests install nothing; they are skipped if a tool is missing.
 */
import { errorMessage } from '../../common/errors.ts';
import { jarsAreMissing } from '../../emulators/kafka/jars.ts';
import { archiveKafkaClasses } from '../../emulators/kafka/java.ts';
import { lambdaRic } from '../../emulators/lambda/runtime-client.ts';
import { functionsFramework } from '../functions/functions-framework.ts';
import { oslsFolder } from '../functions/osls.ts';

async function installKafka(): Promise<void> {
  const missing = await jarsAreMissing();
  if (missing !== null) throw new Error(`Kafka is missing: install ${missing}`);
  await archiveKafkaClasses();
}

for (const install of [installKafka, lambdaRic, oslsFolder, functionsFramework]) {
  try {
    await install();
  } catch (error) {
    process.stderr.write(`${errorMessage(error)}\n`);
    process.exitCode = 1;
  }
}
