/**
 * Counts the tests of vitest's JSON reports: `node .ci/count.ts REPORT…`. Prints each failure again, shortened, because the log before is
 * long, and then the closing line. A test that one report skips and another ran counts as it ended there. `node .ci/count.ts --skipped-files REPORT` prints the files with skipped tests instead, a line each,
 * and `--skipped-names REPORT` a regular expression for the full names of those tests.
 */
import { readFileSync } from 'node:fs';
import { basename, relative } from 'node:path';

type Report = {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    /** Why the file could not be loaded; empty if it was. */
    readonly message: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
};

const [option, ...more] = process.argv.slice(2);
const read = (path: string) => JSON.parse(readFileSync(path, 'utf8')) as Report;

const isSkipped = ({ status }: { status: string }) => status !== 'passed' && status !== 'failed';

if (option === '--skipped-files') {
  for (const { name, assertionResults } of more.flatMap((path) => read(path).testResults)) {
    if (assertionResults.some(isSkipped)) process.stdout.write(`${name}\n`);
  }
} else if (option === '--skipped-names') {
  const tests = more.flatMap((path) => read(path).testResults).flatMap((file) => file.assertionResults);
  const names = tests.filter(isSkipped).map(({ fullName }) => RegExp.escape(fullName));
  process.stdout.write(`^(${names.join('|')})$`);
} else {
  const ended = new Map<string, string>();
  let broken = 0;
  const printFailure = (report: string, file: string, test: string, message: string) =>
    process.stdout.write(
      `FAILED (${basename(report, '.json')}) ${relative(process.cwd(), file)}: ${test}\n${message.split('\n', 12).join('\n').slice(0, 1_500)}\n\n`,
    );
  for (const path of process.argv.slice(2)) {
    for (const { name, status, message, assertionResults } of read(path).testResults) {
      // A file that cannot be loaded has no tests.
      if (status === 'failed' && assertionResults.length === 0) {
        broken += 1;
        printFailure(path, name, 'cannot be loaded', message);
      }
      for (const test of assertionResults) {
        if (test.status === 'failed')
          printFailure(path, name, test.fullName, test.failureMessages.join('\n'));
        const key = `${name} ${test.fullName}`;
        const known = ended.get(key);
        if (known === undefined || (known !== 'failed' && !isSkipped(test))) ended.set(key, test.status);
      }
    }
  }
  const count = (...statuses: string[]) =>
    [...ended.values()].filter((status) => statuses.includes(status)).length;
  const passed = count('passed');
  const failed = count('failed') + broken;
  process.stdout.write(
    `${passed} passed, ${failed} failed, ${ended.size + broken - passed - failed} skipped\n`,
  );
}
