import { readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HTTP } from 'cloudevents';
import { unzipSync } from 'fflate';
import { describe, expect, it } from 'vitest';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { openGuard, untilAnswers } from '../../emulators/process/guarded-process.ts';
import { expectBalanced } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase } from '../support/database.ts';
import { TestSpool } from '../support/records.ts';
import { isSkipped } from '../support/skipped.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { builtFunctions } from './bundles.ts';
import { frameworkIsMissing, functionsFramework } from './functions-framework.ts';
import { cloudEventOf } from './runtimes.ts';

const root = builtFunctions();
const missing = await frameworkIsMissing();

/** A folder with only the content of the zip. */
function unzipped(): string {
  const folder = temporaryFolder();
  const files = unzipSync(readFileSync(join(root, 'cloud-event.zip')));
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, name), bytes);
  return folder;
}

/** Runs the function with the command of docs/deployment-targets.md. */
async function start(source: string, databaseUrl: string) {
  const [port = 0] = await freePorts(1);
  const guard = await openGuard(join(tmpdir(), 'tollway-functions-framework-'));
  const options = [`--source=${source}`, '--target=handle', '--signature-type=http', `--port=${port}`];
  const url = `http://127.0.0.1:${port}/`;
  try {
    const framework = [await functionsFramework(), ...options];
    const running = await guard.run(process.execPath, framework, { DATABASE_URL: databaseUrl });
    await untilAnswers(
      'The Functions Framework',
      () => fetch(`${url}healthz`),
      async () => (running.hasEnded() ? running.logTail() : null),
    );
    return { url, logTail: running.logTail, stop: guard.end };
  } catch (error) {
    await guard.end();
    throw error;
  }
}

describe.skipIf(isSkipped(missing))('the Functions Framework', () => {
  it.each([
    ['the folder', () => join(root, 'cloud-event')],
    ['the unzipped zip', unzipped],
  ])('loads %s of the CloudEvents function, and charges posted events', async (_, source) => {
    const database = await createTestDatabase();
    let running: Awaited<ReturnType<typeof start>> | undefined;
    try {
      running = await start(source(), database.url);
      const { ad } = await addAccount(database.pool);
      const spool = new TestSpool();
      const events = [1, 2, 3].map(() => cloudEventOf(spool.click({ ad })));
      const [binary, structured] = [HTTP.binary(events[0] as never), HTTP.structured(events[1] as never)];
      const batch = {
        headers: { 'content-type': 'application/cloudevents-batch+json' },
        body: JSON.stringify(events.slice(2)),
      };
      for (const { headers, body } of [binary, structured, batch]) {
        const init = { method: 'POST', headers: headers as Record<string, string>, body: body as string };
        expect((await fetch(running.url, init)).status, running.logTail()).toBe(204);
      }
      expect(await expectBalanced(database.pool)).toMatchObject({ charged: 3, rejected: 0 });
    } finally {
      await running?.stop();
      await database.drop();
    }
  });
});
