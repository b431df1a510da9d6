import { onTestFinished } from 'vitest';
import { createErrorPages } from '../../ad-server/http/error-pages.ts';
import { type AdServer, createAdServer } from '../../ad-server/http/server.ts';
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
    front?: boolean;
  } = {},
): Promise<AdServer & { port: number; fixture: ReturnType<typeof redirectFixture> }> {
  const fixture = redirectFixture({ doubleClickMs: 0, ...options });
  const recording = options.recording ?? true;
  const made = createAdServer(
    (request, answer) => {
      fixture.redirect(request, answer);
      if (recording) setImmediate(() => fixture.waiting.length > 0 && fixture.take());
    },
    fixture.metrics,
    {
      connections: {
        max: options.connectionsMax ?? 1_000,
        maxPerSource: Number.POSITIVE_INFINITY,
        isExempt: () => false,
      },
      errorPages: createErrorPages(options.errorPageFile),
      front: options.front ?? true,
    },
  );
  const port = await listen(made.server, 0, '127.0.0.1', 'test');
  onTestFinished(() => {
    made.server.close();
    made.closeAllConnections();
  });
  return { ...made, port, fixture };
}
