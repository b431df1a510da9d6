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

/** Serves the OpenAPI document at `/v1/openapi.json`, and the reference that Scalar renders from it. Both are public. */
export async function serveReference(app: App): Promise<void> {
  app.get('/v1/openapi.json', { config: { access: 'public' }, schema: { hide: true } }, () => app.swagger());
  // Loaded on demand, because its script has 5 MB.
  const { default: scalar } = await import('@scalar/fastify-api-reference');
  await app.register(async (scope) => {
    scope.addHook('onRoute', (route) => {
      route.config = {
        ...route.config,
        access: 'public',
        produces: ['text/html', 'text/javascript', 'application/javascript'],
      };
    });
    scope.addHook('onSend', async (_, reply) => {
      reply.header('content-security-policy', POLICY);
    });
    await scope.register(scalar, {
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
  });
}
