import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { pino } from 'pino';
import type { TestProject } from 'vitest/node';
import { createClient } from '../../common/postgres/postgres.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { migrate } from '../../migrations/migrate.ts';
import { RETENTION } from './retention.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A database of the server, for creating others. */
    databaseServerUrl: string;
    /** The migrated database from which those of the suites are cloned. */
    templateDatabase: string;
  }
}

/** The image of `docker-compose.yml`. */
const POSTGRES_IMAGE = 'postgres:18.4';

type RunningServer = { readonly url: string; readonly stop: () => Promise<void> };
type Databases = RunningServer & { readonly template: string };

/** The server of this run. Every project loads this module again, so a variable of the module would start a server for each project. */
const shared = globalThis as { tollwayTestDatabases?: { started: Promise<Databases>; users: number } };

/**
 * Provides the PostgreSQL of the run to a project. The first project starts it: embedded, in Docker with TEST_POSTGRES=container, or
 * none if TEST_DATABASE_URL names a running one. The returned function stops it after the last project.
 */
export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  shared.tollwayTestDatabases ??= { started: startDatabases(), users: 0 };
  const databases = shared.tollwayTestDatabases;
  databases.users += 1;
  const { url, template, stop } = await databases.started;
  project.provide('databaseServerUrl', url);
  project.provide('templateDatabase', template);
  return async () => {
    databases.users -= 1;
    if (databases.users === 0) await stop();
  };
}

async function startDatabases(): Promise<Databases> {
  const start = process.env.TEST_POSTGRES === 'container' ? startContainer : startServer;
  const server = process.env.TEST_DATABASE_URL === undefined ? await start() : undefined;
  const url = server?.url ?? process.env.TEST_DATABASE_URL ?? '';
  const template = `tollway_template_${uuidV7().replaceAll('-', '')}`;
  try {
    await administer(url, `create database ${template}`);
    await migrate(databaseUrl(url, template), RETENTION, pino({ level: 'silent' }));
  } catch (error) {
    await server?.stop();
    throw error;
  }
  const drop = () => administer(url, `drop database if exists ${template} with (force)`);
  return { url, template, stop: server?.stop ?? drop };
}

async function startServer(): Promise<RunningServer> {
  // Without the options of this process: vitest can add loaders, which the server does not need.
  const child = fork(join(import.meta.dirname, 'postgres-server.ts'), {
    execArgv: [],
    serialization: 'json',
  });
  const url = await Promise.race([nextUrl(child), earlyEnd(child)]);
  const stop = async () => {
    const ended = once(child, 'exit');
    child.disconnect();
    await ended;
  };
  return { url, stop };
}

async function startContainer(): Promise<RunningServer> {
  const { GenericContainer, Wait } = await import('testcontainers');
  const container = await new GenericContainer(POSTGRES_IMAGE)
    .withEnvironment({ POSTGRES_PASSWORD: 'test' })
    // The data of a test need not survive a crash.
    .withCommand(['postgres', '-c', 'fsync=off', '-c', 'full_page_writes=off', '-c', 'max_connections=200'])
    .withExposedPorts(5432)
    // The image starts the server twice: once to initialize it, once to run it.
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
