import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The root of the repository. */
export const ROOT = join(import.meta.dirname, '..', '..');

const direct = new Map<string, readonly string[]>();

/** The modules of the repository that a module imports, directly or through others, and itself; as paths from the root. */
export function importsOf(path: string): ReadonlySet<string> {
  const found = new Set([path]);
  // A set visits what is added during the visit.
  for (const one of found) for (const imported of directImports(one)) found.add(imported);
  return found;
}

function directImports(path: string): readonly string[] {
  const known = direct.get(path);
  if (known) return known;
  // Type-only imports are gone at run time.
  const source = readFileSync(join(ROOT, path), 'utf8').replace(/^(import|export) type [^;]*;/gm, '');
  const imported = [...source.matchAll(/(?:\bfrom|\bimport|\bimport\()\s*'(\.{1,2}\/[^']+)'/g)]
    .map(([, target = '']) => join(dirname(path), target))
    .filter((target) => existsSync(join(ROOT, target)));
  direct.set(path, imported);
  return imported;
}
