import { defineConfig } from 'vitest/config';
import { COMPILE_CACHE } from './common/compile-cache.js';
import { LongFirst } from './test/support/long-first.ts';
import { projects } from './test/support/projects.ts';

/** How long `expect.poll` waits for its condition, in ms. vitest's own second is too short on a busy machine. */
const POLL_MS_MAX = 10_000;

// The workers and the processes that tests start need less CPU time with compiled code that is kept.
process.env.NODE_COMPILE_CACHE ??= COMPILE_CACHE;

export default defineConfig({
  test: {
    // More than the two cores of the smallest machine: many suites wait for servers that they have started, stopped or frozen.
    maxWorkers: 4,
    globalSetup: ['test/support/setup-skipped.ts'],
    sequence: { sequencer: LongFirst },
    // Node loads the modules itself, as in production. The loader of vitest, which rewrites each module, takes more CPU time.
    experimental: { viteModuleRunner: false },
    projects: projects.map((project) => ({
      test: {
        ...project,
        // These tests of a worker share the modules that they load, which saves a third of their time.
        isolate: !['unit', 'database'].includes(project.name),
        // A browser on a busy machine takes seconds to show a view.
        testTimeout: project.name === 'page' ? 60_000 : 30_000,
        hookTimeout: 60_000,
        expect: { poll: { timeout: POLL_MS_MAX } },
      },
    })),
  },
});
