import type { FastifyReply, FastifyRequest } from 'fastify';
import { TollwayError } from '../../common/errors.ts';
import type { App } from './deps.ts';

/**
 * Answers requests without a route before their bodies are read: 405 with `Allow` if the path has other methods, and otherwise 404. Add it
 * before the routes.
 */
export function answerUnknownRoutes(app: App): void {
  const methods = new Map<string, Set<string>>();
  app.addHook('onRoute', ({ url, method }) => {
    const allowed = methods.get(url) ?? new Set<string>();
    for (const one of [method].flat()) allowed.add(one);
    methods.set(url, allowed);
  });
  // Compiled at the first such request: all routes are there then.
  let patterns: { pattern: RegExp; allowed: ReadonlySet<string> }[] | undefined;
  const refuse = (request: FastifyRequest, reply: FastifyReply): never => {
    const path = request.url.split('?')[0] ?? '';
    patterns ??= [...methods].map(([url, some]) => ({ pattern: patternOf(url), allowed: some }));
    const allowed = patterns
      .filter(({ pattern }) => pattern.test(path))
      .flatMap((route) => [...route.allowed]);
    if (allowed.length === 0)
      throw new TollwayError('not_found', `Expected a path of /v1/openapi.json, got ${path}`);
    reply.header('allow', allowed.join(', '));
    throw new TollwayError(
      'method_not_allowed',
      `Expected one of ${allowed.join(', ')} for ${path}, got ${request.method}`,
    );
  };
  app.addHook('onRequest', async (request, reply) => {
    if (request.is404) refuse(request, reply);
  });
  app.setNotFoundHandler(refuse);
}

/** Matches the paths of a route. */
function patternOf(url: string): RegExp {
  return new RegExp(`^${url.replaceAll('.', '\\.').replace(/:\w+/g, '[^/]+').replace('*', '.*')}$`);
}
