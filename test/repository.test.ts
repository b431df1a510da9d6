import { spawnSync } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { settings } from '../common/config/config.ts';
import { POSTGRES_MAJOR_MIN } from '../common/postgres/version.ts';
import { releaseNotes } from '../deploy/release-notes.ts';
import { linksOf } from './support/markdown.ts';
import { projects } from './support/projects.ts';

const ROOT = join(import.meta.dirname, '..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const { scripts, version } = JSON.parse(read('package.json')) as {
  scripts: Record<string, string>;
  version: string;
};

type Step = { uses?: string; run?: string; with?: Record<string, unknown> };
type Job = {
  'runs-on': string;
  'timeout-minutes'?: number;
  permissions?: Record<string, string>;
  strategy?: { matrix: Record<string, unknown[]> };
  steps: Step[];
};
type Workflow = { permissions: Record<string, string>; jobs: Record<string, Job> };
type Action = { runs: { steps: Step[] } };

// A parsing boundary: what of these files is used below is looked at there.
const workflows = globSync('.github/workflows/*.yml', { cwd: ROOT }).map((path) => ({
  path,
  workflow: parse(read(path)) as Workflow,
}));
const actions = globSync('.github/actions/*/action.yml', { cwd: ROOT });
const jobs = workflows.flatMap(({ path, workflow }) =>
  Object.entries(workflow.jobs).map(([name, job]) => ({ name: `${path} ${name}`, job })),
);
const steps = [
  ...jobs.flatMap(({ name, job }) => job.steps.map((step) => ({ where: name, step }))),
  ...actions.flatMap((path) => {
    const action = parse(read(path)) as Action;
    return action.runs.steps.map((step) => ({ where: path, step }));
  }),
];
const commands = steps.flatMap(({ where, step: { run } }) => (run === undefined ? [] : [{ where, run }]));
const ci = workflows.find(({ path }) => path === '.github/workflows/ci.yml')?.workflow.jobs ?? {};
const runsOf = (job: Job) => job.steps.map(({ run = '' }) => run).join('\n');

/** The words of a shell command, without quotes. */
const words = (text: string) => text.replaceAll(/["']/g, '').split(/\s+/);

describe('the workflows', () => {
  it('are the two there are, and every action of ours is used', () => {
    expect(workflows.map(({ path }) => path).sort()).toEqual([
      '.github/workflows/ci.yml',
      '.github/workflows/release.yml',
    ]);
    const used = new Set(steps.map(({ step }) => step.uses));
    for (const path of actions) expect(used).toContain(`./${path.replace('/action.yml', '')}`);
  });

  it('pin every action of others by its commit, with its version beside it', () => {
    const pins = [...workflows.map(({ path }) => path), ...actions].flatMap((path) =>
      read(path)
        .split('\n')
        .filter((line) => /\buses:/.test(line) && !/uses: \.\//.test(line))
        .map((line) => ({ path, line: line.trim() })),
    );
    expect(pins.length).toBeGreaterThan(10);
    const commits = new Map<string, string>();
    for (const { path, line } of pins) {
      const [, action = '', pin = ''] =
        /^(?:- )?uses: ([\w-]+\/[\w-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)$/.exec(line) ?? [];
      expect(action, `${path}: ${line}`).not.toBe('');
      // One version of an action everywhere.
      expect(commits.get(action) ?? pin, `${path}: ${line}`).toBe(pin);
      commits.set(action, pin);
    }
  });

  it('use local actions that exist', () => {
    const local = steps.flatMap(({ step: { uses = '' } }) => (uses.startsWith('./') ? [uses] : []));
    expect(local.length).toBeGreaterThan(5);
    for (const path of local) expect(existsSync(join(ROOT, path, 'action.yml')), path).toBe(true);
  });

  it('may only read, but for the two jobs that publish', () => {
    for (const { path, workflow } of workflows)
      expect(workflow.permissions, path).toEqual({ contents: 'read' });
    const more = jobs.filter(({ job }) => job.permissions !== undefined);
    expect(more.map(({ name, job }) => [name, job.permissions])).toEqual([
      ['.github/workflows/release.yml image', { contents: 'read', packages: 'write' }],
      ['.github/workflows/release.yml release', { contents: 'write' }],
    ]);
  });

  it('leave no credentials in a checkout', () => {
    for (const { where, step } of steps)
      if (step.uses?.startsWith('actions/checkout@'))
        expect(step.with, where).toEqual({ 'persist-credentials': false });
  });

  it('end every job after some minutes, on a named version of the system', () => {
    for (const { name, job } of jobs) {
      expect(job['timeout-minutes'], name).toBeLessThanOrEqual(60);
      expect(job['runs-on'], name).toMatch(/-\d+\.\d+$/);
    }
  });

  it('put no expression into a shell command: its value could be code', () => {
    for (const { where, run } of commands) expect(run, where).not.toContain('${{');
  });

  it('run only scripts of package.json', () => {
    const run = commands.flatMap(({ where, run }) =>
      [...run.matchAll(/npm (?:run ([\w:-]+)|(test|start)\b)/g)].map((match) => ({
        where,
        script: match[1] ?? match[2] ?? '',
      })),
    );
    expect(run.length).toBeGreaterThan(8);
    for (const { where, script } of run) expect(Object.keys(scripts), where).toContain(script);
  });

  it('name only files and folders that exist', () => {
    const named = commands.flatMap(({ where, run }) =>
      words(run)
        .filter((word) => /^[\w.-]+(\/[\w.*-]+)+$/.test(word) && !word.startsWith('dist/'))
        .map((path) => ({ where, path: path.replace(/\/\*\*$/, '') })),
    );
    const hashed = steps.flatMap(({ where, step }) =>
      [...String(step.with?.key ?? '').matchAll(/'([\w./*-]+)'/g)].map(([, path = '']) => ({
        where,
        path: path.replace(/\/\*\*$/, ''),
      })),
    );
    expect(named.length).toBeGreaterThan(5);
    expect(hashed.length).toBeGreaterThan(2);
    for (const { where, path } of [...named, ...hashed])
      expect(existsSync(join(ROOT, path)), `${where}: ${path}`).toBe(true);
  });

  it('install Node 24, which the image runs too', () => {
    const versions = steps.flatMap(({ step }) => step.with?.['node-version'] ?? []);
    expect(new Set(versions)).toEqual(new Set([24]));
    expect(read('Dockerfile')).toContain('FROM node:24.');
  });
});

describe('the tests in CI', () => {
  it('leave nothing out: one job runs each project of vitest, by the script of its name', () => {
    const names = projects.map(({ name }) => name);
    expect(names).toEqual(['unit', 'database', 'brokers', 'platforms', 'system', 'page']);
    for (const name of names) {
      expect(scripts[`test:${name}`]).toBe(`vitest run --project ${name}`);
      const runs = Object.values(ci).filter((job) => words(runsOf(job)).includes(`test:${name}`));
      expect(runs, name).toHaveLength(1);
    }
  });

  it('install the Debian packages of .ci/run', () => {
    const installed = (text: string) =>
      [...text.matchAll(/apt-get install ((?:\\\n|.)*)$/gm)]
        .flatMap(([, line = '']) => words(line.replaceAll('\\\n', ' ')))
        .filter((word) => /^[a-z]/.test(word));
    // Debian and Ubuntu have another version each.
    const tools = (path: string) =>
      installed(read(path)).map((name) => name.replace(/^postgresql-\d+$/, 'postgresql'));
    expect(tools('.ci/run').length).toBeGreaterThan(10);
    expect(tools('.github/actions/test-tools/action.yml')).toEqual(
      // The job that tests the page has the Chrome of its runner.
      tools('.ci/run').filter((name) => name !== 'chromium'),
    );
    expect(read('.github/workflows/ci.yml')).toContain('CHROMIUM: /usr/bin/google-chrome');
  });

  it('run the ledger on every supported version of PostgreSQL', () => {
    const [, oldest, newest] = /PostgreSQL (\d+) to (\d+) are supported/.exec(read('docs/running.md')) ?? [];
    expect(Number(oldest)).toBe(POSTGRES_MAJOR_MIN);
    const all = Array.from({ length: Number(newest) - Number(oldest) + 1 }, (_, at) => Number(oldest) + at);
    expect(ci.postgres?.strategy?.matrix.postgres).toEqual(all);
  });
});

describe('release notes', () => {
  const changelog =
    '# Changelog\n\n## 1.1.0 (2026-02-01)\n\n- New.\n\n## 1.0.0 (2026-01-01)\n\n- Old.\n\n### Fixes\n\n- One.\n';

  it('are the section of a version', () => {
    expect(releaseNotes(changelog, '1.1.0')).toBe('- New.');
    expect(releaseNotes(changelog, '1.0.0')).toBe('- Old.\n\n### Fixes\n\n- One.');
  });

  it('are refused for a version that the changelog does not have', () => {
    expect(() => releaseNotes(changelog, '1.0')).toThrow('expected a section "## 1.0", got none');
  });

  it('are refused for a section without a date or without changes', () => {
    expect(() => releaseNotes('## 1.0.0 (unreleased)\n\n- New.\n', '1.0.0')).toThrow(
      'expected "## 1.0.0 (YYYY-MM-DD)", got "## 1.0.0 (unreleased)"',
    );
    expect(() => releaseNotes('## 1.0.0 (2026-01-01)\n\n## 0.9.0 (2026-01-01)\n', '1.0.0')).toThrow(
      'expected changes below',
    );
  });

  it('have a section to come from: that of the version of package.json', () => {
    expect(read('CHANGELOG.md')).toContain(`\n## ${version} (`);
  });

  it('are refused for a tag of another version', () => {
    const { status, stderr } = spawnSync(process.execPath, ['deploy/release-notes.ts', 'v99.0.0'], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    expect(status).toBe(1);
    expect(stderr).toContain(`Expected the tag v${version} of package.json's version, got "v99.0.0"`);
  });
});

describe('the forms of GitHub', () => {
  type Form = {
    name?: string;
    description?: string;
    body?: {
      type: string;
      id?: string;
      attributes: { label?: string; value?: string; options?: string[] };
    }[];
  };

  it.each(['bug', 'feature'])('%s has what GitHub wants of an issue form', (name) => {
    const { body = [], ...form } = parse(read(`.github/ISSUE_TEMPLATE/${name}.yml`)) as Form;
    expect(form.name && form.description).toBeTruthy();
    const fields = body.filter(({ type }) => type !== 'markdown');
    expect(fields.length).toBeGreaterThan(2);
    for (const { type, id, attributes } of fields) {
      expect(['textarea', 'input', 'dropdown'], id).toContain(type);
      expect(id).toMatch(/^[a-z]+$/);
      expect(attributes.label, id).toBeTruthy();
    }
    expect(new Set(fields.map(({ id }) => id)).size).toBe(fields.length);
  });

  it('offer every broker there is', () => {
    const { body = [] } = parse(read('.github/ISSUE_TEMPLATE/bug.yml')) as Form;
    const broker = body.find(({ id }) => id === 'broker')?.attributes.options;
    expect(broker).toEqual(settings.BROKER.range.split(' \\| '));
  });

  it('ask Dependabot about npm, actions and images, in folders that exist', () => {
    const { updates } = parse(read('.github/dependabot.yml')) as {
      updates: { 'package-ecosystem': string; directory?: string; directories?: string[] }[];
    };
    expect(updates.map((update) => update['package-ecosystem'])).toEqual(
      expect.arrayContaining(['npm', 'github-actions', 'docker']),
    );
    for (const { directory, directories = [directory ?? ''] } of updates)
      for (const path of directories) expect(globSync(join(ROOT, path)), path).not.toEqual([]);
  });
});

/** Number of the next migration, which CONTRIBUTING.md has as an example. */
const latestMigration = Math.max(
  ...globSync('migrations/*.sql', { cwd: ROOT }).map((path) => Number(/\d{4}/.exec(path)?.[0])),
);
const nextMigration = String(latestMigration + 1).padStart(4, '0');

describe.each(['CONTRIBUTING.md', 'SECURITY.md', 'examples/README.md'])('%s', (page) => {
  it('names only files and folders that exist', () => {
    const text = read(page).replaceAll(`migrations/${nextMigration}_name.sql`, '');
    const folder = dirname(page);
    const named = [
      // In a sentence or a command, from the root of the repository.
      ...[...text.matchAll(/(?:^|[\s`'|])((?:[\w.-]+\/)+[\w.-]*)(?=[\s`'|,:;)]|$)/gm)]
        .map(([, path = '']) => path)
        // Made by a stack and by tests.
        .filter((path) => !/^(\.tollway|test-results)\//.test(path)),
      ...linksOf(text)
        .filter((target) => !/^[a-z]+:/.test(target))
        .map((target) => join(folder, target.split('#')[0] ?? '')),
    ];
    expect(named.length).toBeGreaterThan(2);
    expect(named.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });
});

describe('CONTRIBUTING.md', () => {
  it('has a line for every folder of the repository', () => {
    const folders = new Set(globSync('*/**/*.{ts,md,sql}', { cwd: ROOT, exclude: ['node_modules', 'dist'] }));
    const top = new Set([...folders].map((path) => path.split('/')[0]));
    const rows = [...read('CONTRIBUTING.md').matchAll(/^\| `([\w-]+)\/` \|/gm)].map(([, name]) => name);
    expect(rows.toSorted()).toEqual([...top].filter((name) => !name?.startsWith('.')).toSorted());
  });
});
