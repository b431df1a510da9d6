import { Agent, request } from 'undici';
import { BROWSER, type TestStack } from './stack.ts';

export type Clicked = { status: number; clickId: string | null; location: string | null };

/** Clicks a link as a browser would, once. */
export async function clickLink(
  url: string,
  headers: Record<string, string> = {},
  method: 'GET' | 'HEAD' = 'GET',
) {
  const response = await request(url, {
    method,
    headers: { 'user-agent': BROWSER, ...headers },
    reset: true,
  });
  await response.body.dump();
  const header = (name: string) =>
    typeof response.headers[name] === 'string' ? String(response.headers[name]) : null;
  const clickId = header('tollway-click');
  return {
    status: response.statusCode,
    clickId: clickId === 'none' ? null : clickId,
    location: header('location'),
  } satisfies Clicked;
}

/** Creates links to an ad. */
export async function makeLinks(stack: TestStack, adId: number, count: number): Promise<string[]> {
  const { stdout } = await stack.tollway('link', String(adId), '--count', String(count));
  return stdout.trim().split('\n');
}

/**
 * Clicks every link once in the background, `atOnce` at a time. Requests that fail because the ad server is killed are not repeated; ids of
 * recorded clicks are kept.
 */
export function startTraffic(links: readonly string[], atOnce = 20) {
  const recorded: string[] = [];
  const counts = { answered: 0, failed: 0 };
  const agent = new Agent({ connections: atOnce, keepAliveTimeout: 1_000, headersTimeout: 10_000 });
  const queue = [...links];
  const run = async () => {
    for (let url = queue.pop(); url !== undefined; url = queue.pop()) {
      try {
        const response = await request(url, { dispatcher: agent, headers: { 'user-agent': BROWSER } });
        await response.body.dump();
        counts.answered += 1;
        const clickId = response.headers['tollway-click'];
        if (typeof clickId === 'string' && clickId !== 'none') recorded.push(clickId);
      } catch {
        counts.failed += 1;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  };
  const done = Promise.all(Array.from({ length: atOnce }, run)).then(() => agent.close());
  return {
    recorded,
    counts,
    done,
    stop: () => {
      queue.length = 0;
      return done;
    },
  };
}

/** The ledger as `tollway export` prints it. */
export async function exportRows(stack: TestStack): Promise<Record<string, unknown>[]> {
  const { stdout } = await stack.tollway('export');
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}
