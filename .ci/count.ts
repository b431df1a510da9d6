/**
 * Reads vitest's JSON reports.
 *
 * - `node .ci/count.ts REPORT…` prints each failure again, shortened, because the log before is long, and then the closing line. A test that one
 *   report skips and another ran counts as it ended there. The report `NAME-again.json`, which need not be there, is of the files that failed
 *   in `NAME.json`: a test that passes there is flaky.
 * - `--skipped-files REPORT` prints the files with skipped tests, a line each, and `--skipped-names REPORT` a regular expression for the full
 *   names of those tests.
 * - `--repeatable-files REPORT` prints the files with failures, a line each, if they are few. It prints none if one of
 *   the failures is about the books: a click that is lost or charged twice once is a defect, however rare.
 */
import { existsSync, readFileSync } from 'node:fs';
import { basename, relative } from 'node:path';

type Test = {
  readonly fullName: string;
  readonly status: string;
  readonly failureMessages: readonly string[];
};
type File = {
  readonly name: string;
  readonly status: string;
  /** Why the file could not be loaded; empty if it was. */
  readonly message: string;
  readonly assertionResults: readonly Test[];
};

/** With failures in more files than these, something is broken. */
const REPEATED_FILES_MAX = 3;
/** In the message or the stack of a failure about the books. */
const BOOKS = /balanced|books|charged|missing/i;

const AGAIN = '-again.json';

const [option = '', ...more] = process.argv.slice(2);
const filesOf = (path: string) =>
  (JSON.parse(readFileSync(path, 'utf8')) as { testResults: readonly File[] }).testResults;
const isSkipped = ({ status }: Test) => status !== 'passed' && status !== 'failed';
/** A file that cannot be loaded has no tests. */
const isBroken = ({ status, assertionResults }: File) => status === 'failed' && assertionResults.length === 0;

if (option === '--skipped-files') {
  for (const { name, assertionResults } of more.flatMap(filesOf)) {
    if (assertionResults.some(isSkipped)) process.stdout.write(`${name}\n`);
  }
} else if (option === '--skipped-names') {
  const tests = more.flatMap(filesOf).flatMap((file) => file.assertionResults);
  const names = tests.filter(isSkipped).map(({ fullName }) => RegExp.escape(fullName));
  process.stdout.write(`^(${names.join('|')})$`);
} else if (option === '--repeatable-files') {
  const failed = more.flatMap(filesOf).filter(({ status }) => status === 'failed');
  const messages = failed.flatMap((file) => file.assertionResults).flatMap((test) => test.failureMessages);
  const isOfBooks = messages.some((message) => BOOKS.test(message));
  if (failed.length <= REPEATED_FILES_MAX && !isOfBooks) {
    for (const { name } of failed) process.stdout.write(`${name}\n`);
  }
} else {
  process.stdout.write(
    summary([option, ...more].filter((path) => existsSync(path) || !path.endsWith(AGAIN))),
  );
}

/** The failures and the closing line. */
function summary(paths: readonly string[]): string {
  const ended = new Map<string, string>();
  let text = '';
  for (const path of paths) {
    const isRepeated = path.endsWith(AGAIN);
    for (const { file, test, status, message } of filesOf(path).flatMap(testsOf)) {
      const key = `${file} ${test}`;
      const known = ended.get(key);
      if (isRepeated && known === 'failed' && status === 'passed') ended.set(key, 'flaky');
      else if (known === undefined || (known !== 'failed' && known !== 'flaky' && status !== 'skipped'))
        ended.set(key, status);
      if (status !== 'failed') continue;
      const shortened = message.split('\n', 12).join('\n').slice(0, 1_500);
      text += `FAILED (${basename(path, '.json')}) ${relative(process.cwd(), file)}: ${test}\n${shortened}\n\n`;
    }
  }
  const count = (wanted: string) => [...ended.values()].filter((status) => status === wanted).length;
  const flaky = [...ended].filter(([, status]) => status === 'flaky').map(([key]) => key);
  for (const key of flaky)
    text += `FLAKY ${relative(process.cwd(), key)}: failed, and passed when repeated\n`;
  return `${text}${count('passed')} passed, ${count('failed')} failed, ${flaky.length} flaky, ${count('skipped')} skipped\n`;
}

type Ended = {
  readonly file: string;
  readonly test: string;
  readonly status: string;
  readonly message: string;
};

function testsOf(file: File): Ended[] {
  if (isBroken(file))
    return [{ file: file.name, test: 'cannot be loaded', status: 'failed', message: file.message }];
  return file.assertionResults.map((test) => ({
    file: file.name,
    test: test.fullName,
    status: isSkipped(test) ? 'skipped' : test.status,
    message: test.failureMessages.join('\n'),
  }));
}
