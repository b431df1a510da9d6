/**
 * Prints the notes of a release, the section of its version in CHANGELOG.md: `node deploy/release-notes.ts v1.2.0`. Fails if package.json
 * has another version, or if the section is missing, empty or unreleased.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The text below the heading of a version: `## 1.2.0 (2026-01-31)`. Throws if there is no such section with a date. */
export function releaseNotes(changelog: string, version: string): string {
  const [, ...sections] = changelog.split(/^## /m);
  const section = sections.find((text) => text.split(/\s/, 1)[0] === version);
  if (section === undefined) throw new Error(`CHANGELOG.md: expected a section "## ${version}", got none`);
  const [heading = '', ...lines] = section.split('\n');
  if (!/ \(\d{4}-\d\d-\d\d\)$/.test(heading))
    throw new Error(`CHANGELOG.md: expected "## ${version} (YYYY-MM-DD)", got "## ${heading}"`);
  const notes = lines.join('\n').trim();
  if (notes === '') throw new Error(`CHANGELOG.md: expected changes below "## ${heading}", got none`);
  return notes;
}

if (import.meta.main) {
  const root = join(import.meta.dirname, '..');
  const read = (path: string) => readFileSync(join(root, path), 'utf8');
  const [tag = ''] = process.argv.slice(2);
  // A parsing boundary: npm refuses a package.json whose version is not text.
  const { version } = JSON.parse(read('package.json')) as { version: string };
  if (tag !== `v${version}`)
    throw new Error(`Expected the tag v${version} of package.json's version, got "${tag}"`);
  process.stdout.write(`${releaseNotes(read('CHANGELOG.md'), version)}\n`);
}
