import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { TollwayError } from '../common/errors.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import type { App } from './api/deps.ts';

const compress = { br: promisify(brotliCompress), gzip: promisify(gzip) };

/** The paths of the views. `console/page/views.ts` shows them; each can have further segments. */
export const PAGE_PATHS = [
  '/login',
  '/advertisers',
  '/campaigns',
  '/ads',
  '/reports',
  '/statements',
  '/clicks',
  '/operations',
  '/try',
] as const;

/** The page runs its own script and style and calls the API of its own origin. It is never shown in a frame. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** The highest quality, 11, makes the files a tenth smaller and takes ten times the time. */
const BROTLI_QUALITY = 6;

type Asset = { readonly type: string; readonly body: Buffer; readonly encoded: Record<string, Buffer> };
type Page = { readonly html: Asset; readonly files: ReadonlyMap<string, Asset> };

const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#2f5fd0"/><path d="M7 9h18v4.5h-6.6V25h-4.8V13.5H7z" fill="#fff"/></svg>`;

/**
 * Serves the live page: a document for the path of each view, and the files that it names. The script and the style are bundled in memory once, at
 * the first request. Everything is public: the data comes from the API, which checks the caller.
 */
export function servePage(app: App, logger: Logger): void {
  let page: Promise<Page> | undefined;
  const load = (): Promise<Page> => {
    page ??= buildPage().catch((error: unknown) => {
      // The next request tries again.
      page = undefined;
      logger.error(
        { err: error },
        'The live page cannot be bundled, and is not shown. The HTTP API answers as usual. Check that esbuild is installed for this platform',
      );
      throw error;
    });
    return page;
  };
  const config = { access: 'public', produces: ['text/html'] } as const;
  const schema = { hide: true };
  const document = async (request: FastifyRequest, reply: FastifyReply) => {
    reply.headers({ 'content-security-policy': POLICY, 'cache-control': 'no-cache' });
    return send((await load()).html, request, reply);
  };
  for (const path of ['/', ...PAGE_PATHS.flatMap((view) => [view, `${view}/*`])])
    app.get(path, { config, schema }, document);
  app.get<{ Params: { name: string } }>(
    '/assets/:name',
    { config: { access: 'public', produces: ['text/javascript', 'text/css', 'image/svg+xml'] }, schema },
    async (request, reply) => {
      const file = (await load()).files.get(request.params.name);
      if (!file) throw new TollwayError('not_found', `Expected a file of the page, got ${request.url}`);
      // Its name has the hash of its content.
      reply.header('cache-control', 'public, max-age=31536000, immutable');
      return send(file, request, reply);
    },
  );
}

function send({ type, body, encoded }: Asset, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const accepted = request.headers['accept-encoding'] ?? '';
  const encoding = Object.keys(encoded).find((name) => new RegExp(`\\b${name}\\b`).test(accepted));
  reply.type(type).headers({
    vary: 'accept-encoding',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
  });
  if (encoding !== undefined) reply.header('content-encoding', encoding);
  return reply.send(encoding === undefined ? body : encoded[encoding]);
}

/** Bundles the page. Throws what esbuild throws, which names the file and the line. */
export async function buildPage(): Promise<Page> {
  // Loaded here, because only a console that shows the page needs it.
  const esbuild = await import('esbuild');
  const folder = join(import.meta.dirname, 'page');
  const { outputFiles } = await esbuild.build({
    entryPoints: [join(folder, 'main.tsx'), join(folder, 'style/page.css')],
    outdir: '/',
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    target: ['es2022', 'safari16'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
    legalComments: 'none',
  });
  // Ends esbuild's child process. https://esbuild.github.io/api/#build
  await esbuild.stop();
  const files = new Map<string, Asset>();
  for (const { path, contents } of outputFiles) {
    const hash = createHash('sha256').update(contents).digest('hex').slice(0, 12);
    const isStyle = path.endsWith('.css');
    const type = isStyle ? 'text/css; charset=utf-8' : 'text/javascript; charset=utf-8';
    files.set(`page-${hash}.${isStyle ? 'css' : 'js'}`, await assetOf(type, contents));
  }
  const [script, style] = ['js', 'css'].map((end) => [...files.keys()].find((name) => name.endsWith(end)));
  files.set('icon.svg', await assetOf('image/svg+xml', Buffer.from(ICON)));
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Tollway</title>
<link rel="icon" href="/assets/icon.svg">
<link rel="stylesheet" href="/assets/${style}">
<script type="module" src="/assets/${script}"></script>
</head>
<body><noscript>The live page needs JavaScript. The HTTP API works without: see /reference.</noscript></body>
</html>
`;
  return { html: await assetOf('text/html; charset=utf-8', Buffer.from(html)), files };
}

async function assetOf(type: string, contents: Uint8Array): Promise<Asset> {
  const body = Buffer.from(contents);
  const br = await compress.br(body, { params: { [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY } });
  return { type, body, encoded: { br, gzip: await compress.gzip(body) } };
}
