import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import type { TestProject } from 'vitest/node';
import { CHROMIUM_ARGS, findChromium } from './chromium.ts';
import { ROOT } from './imports.ts';
import { stackEnv, startStack } from './stack.ts';

/** What the tests of the live page share. */
export type PageRun = {
  /** WebSocket address of the Chromium of the run. */
  readonly browserUrl: string;
  /** Folder of the screenshots. */
  readonly screenshotFolder: string;
  readonly stack: {
    readonly consoleUrl: string;
    readonly adServerUrl: string;
    /** Settings with which `npx tollway` finds the stack. */
    readonly env: NodeJS.ProcessEnv;
    /** What `npm start` printed. */
    readonly printed: string;
    /** Text of a key of an administrator. */
    readonly adminKey: string;
  };
};

declare module 'vitest' {
  interface ProvidedContext {
    /** `null` without a Chromium. */
    pageRun: PageRun | null;
  }
}

const SCREENSHOT_FOLDER = join(ROOT, 'test-results', 'page');

/** Starts one Chromium and one stack for all tests of the page. The returned function stops them after the last test. */
export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  const executablePath = findChromium();
  if (executablePath === null) {
    project.provide('pageRun', null);
    return async () => {};
  }
  rmSync(SCREENSHOT_FOLDER, { recursive: true, force: true });
  mkdirSync(SCREENSHOT_FOLDER, { recursive: true });
  const folder = mkdtempSync(join(tmpdir(), 'tollway-page-'));
  // PostgreSQL does not run as root.
  chmodSync(folder, 0o755);
  const [browser, stack] = await Promise.all([
    chromium.launchServer({ executablePath, args: CHROMIUM_ARGS }),
    stackEnv(folder).then(startStack),
  ]);
  const { stdout } = await stack.tollway('key', 'create', '--role', 'admin', '--name', 'Tests', '--json');
  project.provide('pageRun', {
    browserUrl: browser.wsEndpoint(),
    screenshotFolder: SCREENSHOT_FOLDER,
    stack: {
      consoleUrl: stack.consoleUrl,
      adServerUrl: stack.adServerUrl,
      env: stack.env,
      printed: stack.printed(),
      adminKey: JSON.parse(stdout).key,
    },
  });
  return async () => {
    await Promise.all([browser.close(), stack.stop()]);
    rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  };
}
