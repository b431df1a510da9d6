import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clickLink, exportRows, makeLinks } from '../support/clicks.ts';
import { startSpanCollector } from '../support/span-collector.ts';
import { stackEnv, startStack, type TestStack } from '../support/stack.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

const folder = suiteFolder();
const SDK = join(import.meta.dirname, '..', 'support', 'children', 'trace-to-collector.ts');

describe('npm start with an SDK in NODE_OPTIONS', () => {
  let stack: TestStack;
  let collector: Awaited<ReturnType<typeof startSpanCollector>>;
  beforeAll(async () => {
    collector = await startSpanCollector();
    stack = await startStack(
      await stackEnv(folder, { NODE_OPTIONS: `--import ${SDK}`, COLLECTOR_URL: collector.url }),
    );
  }, 60_000);
  afterAll(async () => {
    await stack?.stop();
    collector?.close();
  });

  it('sends the trace of a click: redirect, publication and charge', { timeout: 30_000 }, async () => {
    const [url = ''] = await makeLinks(stack, 1, 1);
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const { clickId } = await clickLink(url, { traceparent });
    await until('the span of the charge', () => collector.spans.some(({ name }) => name === 'charge clicks'));

    const [redirect] = collector.spans.filter(({ name }) => name === 'redirect');
    expect(redirect).toMatchObject({
      traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
      parentId: '00f067aa0ba902b7',
      attributes: { 'tollway.click.id': clickId, 'tollway.click.recorded': true },
    });
    for (const name of ['publish clicks', 'charge clicks']) {
      expect(collector.spans.filter((span) => span.name === name)).toEqual([
        expect.objectContaining({
          traceId: redirect?.traceId,
          parentId: redirect?.spanId,
          links: [redirect?.spanId],
        }),
      ]);
    }
    // The span of the charge ends after the commit.
    expect(await exportRows(stack)).toEqual([expect.objectContaining({ clickId, outcome: 'charged' })]);
  });

  it('charges a click with a hostile header like any other', { timeout: 30_000 }, async () => {
    const [url = ''] = await makeLinks(stack, 2, 1);
    const { clickId } = await clickLink(url, { traceparent: `00-${'f'.repeat(32)}-"},"v":2-01` });
    await until('the click to be charged', async () =>
      (await exportRows(stack)).some((row) => row.clickId === clickId && row.outcome === 'charged'),
    );
  });
});
