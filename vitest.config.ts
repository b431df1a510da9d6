import { defineConfig } from 'vitest/config';
import { projects } from './test/support/projects.ts';

export default defineConfig({
  test: {
    // More than the two cores of the smallest machine: many suites wait for servers that they have started, stopped or frozen.
    maxWorkers: 4,
    globalSetup: ['test/support/setup-skipped.ts'],
    projects: projects.map((project) => ({ test: { ...project, testTimeout: 30_000, hookTimeout: 60_000 } })),
  },
});
