import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type { TestProject } from 'vitest/node';
import { createClient } from '../../common/postgres/postgres.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { migrate } from '../../migrations/migrate.ts';
import { RETENTION } from './retention.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A database of the server to connect to, to make others from there. */
    databaseServerUrl: string;
    /** The migrated database that every suite's own is cloned from. */
    templateDatabase: string;
    /** The file to which `isSkipped` appends its reasons, a line each. */
    skippedPath: string;
  }
}

/** The image of `docker-compose.yml`. */
const POSTGRES_IMAGE = 'postgres:18.4';

/**
 * Starts one PostgreSQL for the run, embedded or with TEST_POSTGRES=container in Docker, or takes the one of
 * TEST_DATABASE_URL, and migrates a template database there. The answer ends what was begun.
 */
export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  const start = process.env.TEST_POSTGRES === 'container' ? startContainer : startServer;
  const server = process.env.TEST_DATABASE_URL === undefined ? await start() : undefined;
  const serverUrl = server?.url ?? process.env.TEST_DATABASE_URL ?? '';
  const template = `tollway_template_${uuidV7().replaceAll('-', '')}`;
  try {
    await administer(serverUrl, `create database ${template}`);
    await migrate(databaseUrl(serverUrl, template), RETENTION, pino({ level: 'silent' }));
  } catch (error) {
    await server?.stop();
    throw error;
  }
  project.provide('databaseServerUrl', serverUrl);
  project.provide('templateDatabase', template);
  const skippedFolder = mkdtempSync(join(tmpdir(), 'tollway-skipped-'));
  const skippedPath = join(skippedFolder, 'reasons');
  writeFileSync(skippedPath, '');
  project.provide('skippedPath', skippedPath);
  return async () => {
    const reasons = new Set(readFileSync(skippedPath, 'utf8').split('\n').filter(Boolean));
    for (const reason of reasons) process.stderr.write(`Skipped: ${reason}\n`);
    rmSync(skippedFolder, { recursive: true });
    if (server) await server.stop();
    else await administer(serverUrl, `drop database if exists ${template} with (force)`);
  };
}

async function startServer(): Promise<{ url: string; stop: () => Promise<void> }> {
  // Not the options of this process: its runner may bring loaders that the server has no use for.
  const child = fork(join(import.meta.dirname, 'server.ts'), { execArgv: [], serialization: 'json' });
  const url = await Promise.race([nextUrl(child), earlyEnd(child)]);
  const stop = async () => {
    const ended = once(child, 'exit');
    child.disconnect();
    await ended;
  };
  return { url, stop };
}

async function startContainer(): Promise<{ url: string; stop: () => Promise<void> }> {
  const { GenericContainer, Wait } = await import('testcontainers');
  const container = await new GenericContainer(POSTGRES_IMAGE)
    .withEnvironment({ POSTGRES_PASSWORD: 'test' })
    // The data of a test dies with it.
    .withCommand(['postgres', '-c', 'fsync=off', '-c', 'full_page_writes=off', '-c', 'max_connections=200'])
    .withExposedPorts(5432)
    // It starts twice: once to be made, once to stay.
    .withWaitStrategy(Wait.forLogMessage(/ready to accept connections/, 2))
    .start();
  const url = `postgres://postgres:test@${container.getHost()}:${container.getMappedPort(5432)}/postgres`;
  return { url, stop: async () => void (await container.stop()) };
}

async function nextUrl(child: ChildProcess): Promise<string> {
  const [message] = (await once(child, 'message')) as [{ url: string }];
  return message.url;
}

async function earlyEnd(child: ChildProcess): Promise<never> {
  const [code] = (await once(child, 'exit')) as [number | null];
  throw new Error(`The PostgreSQL of the tests ended with ${code} before it was ready`);
}

async function administer(url: string, statement: string): Promise<void> {
  const client = createClient(url, 'test setup');
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

function databaseUrl(serverUrl: string, database: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${database}`;
  return url.href;
}
