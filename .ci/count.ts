/**
 * Counts the tests of vitest's JSON reports and prints the closing line: `node .ci/count.ts REPORT…`. A test that one report skips and
 * another ran counts as it ended there. `node .ci/count.ts --skipped-files REPORT` prints the files with skipped tests instead, a line each,
 * and `--skipped-names REPORT` a regular expression for the full names of those tests.
 */
import { readFileSync } from 'node:fs';

type Report = {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
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
  for (const path of process.argv.slice(2)) {
    for (const { name, status, assertionResults } of read(path).testResults) {
      // A file that cannot be loaded has no tests.
      if (status === 'failed' && assertionResults.length === 0) broken += 1;
      for (const test of assertionResults) {
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
