import { readFileSync } from 'node:fs';

/** PostgreSQL refuses to run as root: then the server runs as the user `postgres`, which its package has made. Throws without one. */
export function postgresUser(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const entry = readFileSync('/etc/passwd', 'utf8').match(/^postgres:[^:]*:(\d+):(\d+):/m);
  if (!entry)
    throw new Error('Expected a user postgres to run PostgreSQL as (this process is root), got none');
  return { uid: Number(entry[1]), gid: Number(entry[2]) };
}
