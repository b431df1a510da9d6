import type { FastifyReply, FastifyRequest } from 'fastify';
import { TollwayError } from '../../common/errors.ts';
import type { App } from './deps.ts';

/**
 * Answers requests without a route before their bodies are read: 405 with `Allow` if the path has other methods, and otherwise 404. Add it
 * before the routes.
 */
export function answerUnknownRoutes(app: App): void {
  const methods = new Map<string, { pattern: RegExp; allowed: Set<string> }>();
  app.addHook('onRoute', ({ url, method }) => {
    const pattern = new RegExp(
      `^${url.replaceAll('.', '\\.').replace(/:\w+/g, '[^/]+').replace('*', '.*')}$`,
    );
    const route = methods.get(url) ?? { pattern, allowed: new Set<string>() };
    for (const one of [method].flat()) route.allowed.add(one);
    methods.set(url, route);
  });
  const refuse = (request: FastifyRequest, reply: FastifyReply): never => {
    const path = request.url.split('?')[0] ?? '';
    const allowed = [...methods.values()]
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
