import fastify from 'fastify';
import type { App } from './deps.ts';

/** The path of the rendered reference. */
export const REFERENCE_PATH = '/reference';

/** The reference loads its own script and the OpenAPI document, and nothing from other hosts. Scalar inserts a start script and styles into the page. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self' 'unsafe-inline'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data: blob:",
  "font-src 'self' data:",
  "connect-src 'self'",
  "worker-src 'self' blob:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');
/** What Scalar serves: a redirect to the page, the page, and its script. */
const PATHS = [REFERENCE_PATH, `${REFERENCE_PATH}/`, `${REFERENCE_PATH}/js/scalar.js`];
const PRODUCES = ['text/html', 'text/javascript', 'application/javascript'];

/** Serves the OpenAPI document at `/v1/openapi.json`, and the reference that Scalar renders from it. Both are public. */
export function serveReference(app: App): void {
  const schema = { hide: true };
  app.get('/v1/openapi.json', { config: { access: 'public' }, schema }, () => app.openApi());
  let scalar: Promise<ScalarApp> | undefined;
  app.addHook('onClose', async () => (await scalar)?.close());
  for (const path of PATHS) {
    app.get(path, { config: { access: 'public', produces: PRODUCES }, schema }, async (_, reply) => {
      scalar ??= createScalar();
      const { statusCode, headers, rawPayload } = await (await scalar).inject(path);
      for (const name of ['content-type', 'location'])
        if (headers[name] !== undefined) reply.header(name, headers[name]);
      return reply.code(statusCode).header('content-security-policy', POLICY).send(rawPayload);
    });
  }
}

type ScalarApp = Awaited<ReturnType<typeof createScalar>>;

/** Creates the app of the reference. Loaded on demand, because its script has 5 MB. */
async function createScalar() {
  const { default: scalar } = await import('@scalar/fastify-api-reference');
  const app = fastify();
  await app.register(scalar, {
    routePrefix: REFERENCE_PATH,
    configuration: {
      url: '/v1/openapi.json',
      title: 'Tollway API',
      theme: 'default',
      withDefaultFonts: false,
      telemetry: false,
      hideClientButton: true,
      agent: { disabled: true },
      mcp: { disabled: true },
      showDeveloperTools: 'never',
      defaultHttpClient: { targetKey: 'shell', clientKey: 'curl' },
    },
  });
  return app;
}
