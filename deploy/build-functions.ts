import { createHash } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { basename, join, relative } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { type Zippable, zipSync } from 'fflate';

const ROOT = join(import.meta.dirname, '..');
/** Folder for the bundles; each is a folder and a zip. */
export const FUNCTIONS_DIR = join(ROOT, 'dist', 'functions');

type Bundle = {
  readonly entry: string;
  /** ES modules, except for OpenWhisk, whose runtime supports only CommonJS. */
  readonly format: 'esm' | 'cjs';
  /** The oldest version of Node on the platform. */
  readonly target: string;
  /** A package.json that the platform needs; it is in the folder and in the zip. */
  readonly packageJson?: object;
};

/** A bundle on disk. */
export type BuiltFunction = {
  readonly name: string;
  /** Folder with the content of the zip and the source map. */
  readonly folder: string;
  readonly zip: Uint8Array;
};

const LAMBDA = { format: 'esm', target: 'node24' } as const;

/** All functions by name, which is also the name of the folder and the zip. */
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
    // The Functions Framework loads `main`, function.js by default:
    // https://github.com/GoogleCloudPlatform/functions-framework-nodejs#configure-the-functions-framework
    packageJson: { private: true, type: 'module', main: 'index.mjs', engines: { node: '>=24' } },
  },
};

/**
 * Excludes the modules of the runtime, which are the AWS SDK and Node's own, from the bundle and loads each at its first use. With normal
 * external imports a bundle would load all of them at its start, also those of modules that are imported later. It uses `require`, because
 * ES imports do not search `NODE_PATH`, where Lambda's runtime has the SDK.
 */
const lazyRuntimeModules: Plugin = {
  name: 'lazy-runtime-modules',
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /^@aws-sdk\/|^[a-z0-9_:/]+$/ }, ({ path, namespace }) => {
      if (!path.startsWith('@aws-sdk/') && !isBuiltin(path)) return undefined;
      return namespace === 'lazy-runtime-modules'
        ? { path, external: true }
        : { path, namespace: 'lazy-runtime-modules' };
    });
    onLoad({ filter: /.*/, namespace: 'lazy-runtime-modules' }, ({ path }) => ({
      contents: `module.exports = require(${JSON.stringify(path)})`,
    }));
  },
};

/** Code at the start of a bundle: `require` for CommonJS modules in an ES module, and `import.meta.url` for ES modules in CommonJS. */
const BANNERS = {
  esm: "import { createRequire as tollwayRequire } from 'node:module'; const require = tollwayRequire(import.meta.url);",
  cjs: "const tollwayUrl = require('node:url').pathToFileURL(__filename).href;",
} as const;

/** Writes the bundle of a function as one minified file, with a source map, and a zip of it. */
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
    // Identifiers are not minified: stack traces are readable without the map, and V8 loads esbuild's wrappers a third faster.
    minifyWhitespace: true,
    minifySyntax: true,
    platform: 'node',
    // Prefers the ES modules of packages, because esbuild removes unused code only from those.
    mainFields: ['module', 'main'],
    format,
    target,
    sourcemap: 'external',
    sourcesContent: false,
    legalComments: 'none',
    banner: { js: BANNERS[format] },
    define: format === 'cjs' ? { 'import.meta.url': 'tollwayUrl', 'import.meta.main': 'false' } : {},
    // Optional dependencies of `pg`, which it loads only if they are installed, and a client of Kafka that no function uses.
    external: ['pg-native', 'pg-cloudflare', '@platformatic/kafka'],
    plugins: [lazyRuntimeModules],
    logLevel: 'warning',
  });
  for (const { path, contents } of outputFiles) await writeFile(path, contents);
  // The package.json of the project says ES modules. This one makes the bundle work in its folder.
  if (format === 'cjs') await writeFile(join(folder, 'package.json'), '{"type":"commonjs"}\n');
  const code = outputFiles.find(({ path }) => basename(path) === file);
  if (code === undefined) throw new Error(`Expected ${file} of ${entry}`);
  // The first date of the zip format, in any time zone, so that the same code gives the same bytes.
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

/** Builds all functions into a folder, which is created if it does not exist. */
export function buildFunctions(root = FUNCTIONS_DIR): Promise<BuiltFunction[]> {
  return Promise.all(Object.entries(BUNDLES).map(([name, bundle]) => buildFunction(root, name, bundle)));
}

if (import.meta.main) {
  for (const { name, zip } of await buildFunctions()) {
    const hash = createHash('sha256').update(zip).digest('hex');
    process.stdout.write(`${name.padEnd(20)} ${String(zip.length).padStart(8)} bytes  sha256 ${hash}\n`);
  }
}
