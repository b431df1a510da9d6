import type { Metrics } from '../../common/telemetry/metrics.ts';
import type { App } from './deps.ts';

/** Counts the requests by route, method and status, and measures their time. A path without a route counts as `unknown`. */
export function countRequests(app: App, metrics: Metrics): void {
  app.addHook('onResponse', async (request, reply) => {
    const { url: route = 'unknown' } = request.routeOptions;
    metrics.consoleRequests.inc({ route, method: request.method, status: String(reply.statusCode) });
    metrics.consoleRequestDuration.observe(reply.elapsedTime / 1_000);
  });
}
