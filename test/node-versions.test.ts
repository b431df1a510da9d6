import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

// semver has no types of its own; this is the part of it that is used.
const { satisfies } = createRequire(import.meta.url)('semver') as {
  satisfies: (version: string, range: string) => boolean;
};
const read = (name: string) => readFileSync(join(import.meta.dirname, '..', name), 'utf8');
const { packages } = JSON.parse(read('package-lock.json')) as {
  packages: Record<string, { version: string; engines?: { node?: string } }>;
};

/** The packages for which npm has an EBADENGINE warning if the machine has Node `version`. `.npmrc` hides these warnings. */
function refusedBy(version: string): string[] {
  return Object.entries(packages).flatMap(([path, { version: installed, engines }]) =>
    engines?.node === undefined || satisfies(version, engines.node)
      ? []
      : [`${path}@${installed} requires Node ${engines.node}`],
  );
}

describe('the machine’s Node, which only runs npm', () => {
  it.each(['22.22.0', '24.21.0'])('may be %s', (version) => {
    expect(refusedBy(version)).toEqual([]);
  });

  // Packages of the console, and one of Kafka's two clients. They run on the Node 24 that `npm ci` installs, whatever Node runs npm.
  it.each(['20.19.0', '20.20.2', '22.13.0', '22.21.1'])(
    'may be %s, although npm could warn of packages that run on the Node of npm ci',
    (version) => {
      const others = refusedBy(version).filter(
        (line) => !/^node_modules\/(@scalar\/|@platformatic\/|cookie@)/.test(line),
      );
      expect(others).toEqual([]);
    },
  );

  it('prints no warning of those packages', () => {
    expect(read('.npmrc')).toMatch(/^loglevel=error$/m);
  });

  it('may be what the README says, and package.json refuses older ones', () => {
    expect(read('README.md')).toContain('Node 20.19 or a later 20.x, or 22.13 or newer');
    for (const version of ['20.18.3', '22.12.0']) expect(refusedBy(version)[0]).toMatch(/^@/);
  });
});
