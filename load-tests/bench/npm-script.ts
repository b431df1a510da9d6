import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { NODE } from './node-command.ts';

/**
 * The command of a script of `package.json` in a checkout, such as `start`, without npm, which would not pass on signals. The names of scripts are
 * what all commits have in common. Throws if there is none that runs an entry file with Node.
 */
export function commandOf(root: string, script: string): string[] {
  // The file of a checkout of this repository.
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Readonly<Record<string, string>>;
  };
  const words = scripts[script]?.split(' ') ?? [];
  const entry = words.find((word) => /\.[jt]s$/.test(word));
  if (entry === undefined)
    throw new Error(`Expected a script ${script} in package.json, got none in ${root}`);
  const flags = words.filter((word) => word.startsWith('--') && !NODE.includes(word));
  return [...NODE, ...flags, join(root, entry)];
}
