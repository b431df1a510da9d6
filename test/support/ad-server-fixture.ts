import type { Server } from 'node:http';
import { onTestFinished } from 'vitest';
import { createErrorPages } from '../../ad-server/http/error-pages.ts';
import { createAdServer } from '../../ad-server/http/server.ts';
import { listen } from '../../common/telemetry/operations-server.ts';
import { redirectFixture } from './redirect-fixture.ts';

/**
 * A real server on a free port of the loopback interface. Clicks are recorded in the next event-loop turn, as by a spool; with
 * `recording: false` they wait in `fixture.waiting` to be accepted or refused.
 */
export async function adServerFixture(
  options: Parameters<typeof redirectFixture>[0] & {
    recording?: boolean;
    connectionsMax?: number;
    errorPageFile?: string;
  } = {},
): Promise<{ port: number; server: Server; fixture: ReturnType<typeof redirectFixture> }> {
  const fixture = redirectFixture({ doubleClickMs: 0, ...options });
  const recording = options.recording ?? true;
  const { server } = createAdServer(
    (request, answer) => {
      fixture.redirect(request, answer);
      if (recording) setImmediate(() => fixture.waiting.length > 0 && fixture.take());
    },
    fixture.metrics,
    { max: options.connectionsMax ?? 1_000, maxPerSource: Number.POSITIVE_INFINITY, isExempt: () => false },
    createErrorPages(options.errorPageFile),
  );
  const port = await listen(server, 0, '127.0.0.1', 'test');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { port, server, fixture };
}
