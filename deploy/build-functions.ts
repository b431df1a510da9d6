import { createHash } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { basename, join, relative } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { type Zippable, zipSync } from 'fflate';

const ROOT = join(import.meta.dirname, '..');
/** Where the bundles are written, a folder and a zip each. */
export const FUNCTIONS_DIR = join(ROOT, 'dist', 'functions');

type Bundle = {
  readonly entry: string;
  /** ES modules where the platform takes them; OpenWhisk's runtime takes CommonJS alone. */
  readonly format: 'esm' | 'cjs';
  /** The oldest Node that the platform runs it on. */
  readonly target: string;
  /** A package.json for the platform, in the folder and in the zip. */
  readonly packageJson?: object;
};

export type BuiltFunction = {
  readonly name: string;
  /** Holds what the zip holds, and the source map. */
  readonly folder: string;
  readonly zip: Uint8Array;
};

const LAMBDA = { format: 'esm', target: 'node24' } as const;

/** Every function by its name, that of its folder and its zip. */
export const BUNDLES: Readonly<Record<string, Bundle>> = {
  'lambda-kinesis': { entry: 'processor/functions/lambda-kinesis.ts', ...LAMBDA },
  'lambda-kafka': { entry: 'processor/functions/lambda-kafka.ts', ...LAMBDA },
  'lambda-file': { entry: 'processor/functions/lambda-file.ts', ...LAMBDA },
  'lambda-reconcile': { entry: 'processor/functions/lambda-reconcile.ts', ...LAMBDA },
  'lambda-maintenance': { entry: 'processor/functions/lambda-maintenance.ts', ...LAMBDA },
  'lambda-redirect': { entry: 'ad-server/lambda/main.ts', ...LAMBDA },
  openwhisk: { entry: 'processor/functions/openwhisk.ts', format: 'cjs', target: 'node20' },
  'cloud-event': {
    entry: 'processor/functions/cloud-event.ts',
    ...LAMBDA,
    // The Functions Framework finds a function by `main`, and looks for function.js otherwise:
    // https://github.com/GoogleCloudPlatform/functions-framework-nodejs#configure-the-functions-framework
    packageJson: { private: true, type: 'module', main: 'index.mjs', engines: { node: '>=24' } },
  },
};

/**
 * Leaves out what the runtime brings, the AWS SDK and Node's own modules, and loads it where it is first used: what a bundle
 * imports the usual way is loaded at its start, that of a module which is itself imported later too. By `require`, since ES
 * imports do not look where Lambda's runtime keeps the SDK (`NODE_PATH`).
 */
const ofTheRuntime: Plugin = {
  name: 'of-the-runtime',
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /^@aws-sdk\/|^[a-z0-9_:/]+$/ }, ({ path, namespace }) => {
      if (!path.startsWith('@aws-sdk/') && !isBuiltin(path)) return undefined;
      return namespace === 'of-the-runtime'
        ? { path, external: true }
        : { path, namespace: 'of-the-runtime' };
    });
    onLoad({ filter: /.*/, namespace: 'of-the-runtime' }, ({ path }) => ({
      contents: `module.exports = require(${JSON.stringify(path)})`,
    }));
  },
};

/** What CommonJS inside of a bundle of the other kind, and the other way round, has to find. */
const BANNERS = {
  esm: "import { createRequire as tollwayRequire } from 'node:module'; const require = tollwayRequire(import.meta.url);",
  cjs: "const tollwayUrl = require('node:url').pathToFileURL(__filename).href;",
} as const;

/** Writes one small file a function, its source map beside it, and a zip of it. */
async function buildFunction(
  root: string,
  name: string,
  { entry, format, target, packageJson }: Bundle,
): Promise<BuiltFunction> {
  const folder = join(root, name);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const file = format === 'esm' ? 'index.mjs' : 'index.js';
  const { outputFiles } = await build({
    entryPoints: [entry],
    absWorkingDir: ROOT,
    outfile: relative(ROOT, join(folder, file)),
    write: false,
    bundle: true,
    // Names stay: stack traces are legible without the map, and V8 reads the wrappers that esbuild makes then a third faster.
    minifyWhitespace: true,
    minifySyntax: true,
    platform: 'node',
    // Of packages that come in both kinds the ES modules: only of those is left out what is not used.
    mainFields: ['module', 'main'],
    format,
    target,
    sourcemap: 'external',
    sourcesContent: false,
    legalComments: 'none',
    banner: { js: BANNERS[format] },
    define: format === 'cjs' ? { 'import.meta.url': 'tollwayUrl', 'import.meta.main': 'false' } : {},
    // Two ways of `pg` to connect that it asks for only where they are installed.
    external: ['pg-native', 'pg-cloudflare'],
    plugins: [ofTheRuntime],
    logLevel: 'warning',
  });
  for (const { path, contents } of outputFiles) await writeFile(path, contents);
  // So that it can be tried where it lies, below our own package.json.
  if (format === 'cjs') await writeFile(join(folder, 'package.json'), '{"type":"commonjs"}\n');
  const code = outputFiles.find(({ path }) => basename(path) === file);
  if (code === undefined) throw new Error(`Expected ${file} of ${entry}`);
  // The first date that the format knows, in any time zone: the same code makes the same bytes.
  const attributes = { mtime: new Date(1980, 0, 1), os: 3, attrs: 0o644 << 16 };
  const zipped: Zippable = { [file]: [code.contents, attributes] };
  if (packageJson !== undefined) {
    const text = `${JSON.stringify(packageJson)}\n`;
    await writeFile(join(folder, 'package.json'), text);
    zipped['package.json'] = [Buffer.from(text), attributes];
  }
  const zip = zipSync(zipped, { level: 9 });
  await writeFile(`${folder}.zip`, zip);
  return { name, folder, zip };
}

/** Builds all functions into a folder, which is made where there is none. */
export function buildFunctions(root = FUNCTIONS_DIR): Promise<BuiltFunction[]> {
  return Promise.all(Object.entries(BUNDLES).map(([name, bundle]) => buildFunction(root, name, bundle)));
}

if (import.meta.main) {
  for (const { name, zip } of await buildFunctions()) {
    const hash = createHash('sha256').update(zip).digest('hex');
    process.stdout.write(`${name.padEnd(20)} ${String(zip.length).padStart(8)} bytes  sha256 ${hash}\n`);
  }
}
