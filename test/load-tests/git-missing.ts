import { spawnSync } from 'node:child_process';

/** What is missing for tests that check out a commit, and how to install it; `null` if nothing is. */
export const gitMissing =
  spawnSync('git', ['--version']).status === 0 ? null : 'git is missing: install it to test bench --against';
