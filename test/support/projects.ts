import { globSync } from 'node:fs';
import { importsOf, ROOT } from './imports.ts';

/** A project of vitest: tests that need the same of the machine. */
export type Project = {
  readonly name: string;
  /** Patterns of the test files, and of those to leave out. */
  readonly include: string[];
  readonly exclude: string[];
  /** Modules that run before the tests. */
  readonly globalSetup: string[];
};

const POSTGRES = ['test/support/setup-postgres.ts'];
const FUNCTIONS = ['test/support/setup-functions.ts'];
const PAGE = ['test/support/setup-page.ts'];
const FOLDERS = ['test/brokers/**', 'test/functions/**', 'test/system/**', 'test/page/**'];
const OTHERS = 'test/**/*.test.ts';

const inFolder = (name: string, folder: string, globalSetup = POSTGRES): Project => ({
  name,
  include: [`${folder}/*.test.ts`],
  exclude: [],
  globalSetup,
});

/** A test that imports this module, directly or through others, needs PostgreSQL. */
export const DATABASE_MODULE = 'test/support/database.ts';

const withDatabase = globSync(OTHERS, { cwd: ROOT, exclude: FOLDERS }).filter((path) =>
  importsOf(path).has(DATABASE_MODULE),
);

/**
 * The projects of vitest. `test/brokers`, `test/functions`, `test/system` and `test/page` are a project each: they need real brokers, the
 * runtimes of platforms, the whole system as processes, and a browser. All other tests are in `database` if they need PostgreSQL, and in `unit` if not.
 */
export const projects: readonly Project[] = [
  { name: 'unit', include: [OTHERS], exclude: [...withDatabase, ...FOLDERS], globalSetup: [] },
  { name: 'database', include: withDatabase, exclude: [], globalSetup: POSTGRES },
  inFolder('brokers', 'test/brokers/**'),
  inFolder('platforms', 'test/functions/**', [...POSTGRES, ...FUNCTIONS]),
  inFolder('system', 'test/system/**'),
  inFolder('page', 'test/page/**', PAGE),
];
