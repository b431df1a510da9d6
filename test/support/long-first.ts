import { join } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { ROOT } from './imports.ts';

/** The test files that take longest, above 40 s each on two cores. In a new clone vitest does not know how long a file takes. */
export const LONG_FILES: readonly string[] = [
  'test/system/load.test.ts',
  'test/functions/file.test.ts',
  'test/brokers/bad-input.test.ts',
  'test/functions/redirect-kafka.test.ts',
  'test/system/docs-commands.test.ts',
  'test/system/cli.test.ts',
  'test/brokers/event-source.test.ts',
  'test/console/webhooks/kills.test.ts',
  'test/system/month.test.ts',
  'test/functions/runtimes.test.ts',
  'test/functions/redirect-kinesis.test.ts',
  'test/ledger/reports/rollup.test.ts',
  'test/functions/terraform.test.ts',
];

const ranks = new Map(LONG_FILES.map((path, index) => [join(ROOT, path), index]));

/**
 * Starts the longest files of all projects first, so that no single one runs on when all others have ended. The other files keep the order
 * of vitest: by project, then by duration or size.
 */
export class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => ranks.get(moduleId) ?? LONG_FILES.length;
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}
