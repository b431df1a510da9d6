/** An event of `/v1/events` as a client gets it. */
export type ReceivedEvent = { readonly event: string; readonly data: Record<string, unknown> };

/** Listens to `/v1/events` of an API at `base` with a key, or with other headers, and collects the events until `close`. */
export async function listenLive(base: string, caller: string | Record<string, string>) {
  const stop = new AbortController();
  const headers = typeof caller === 'string' ? { authorization: `Bearer ${caller}` } : caller;
  const response = await fetch(`${base}/v1/events`, { headers, signal: stop.signal });
  const events: ReceivedEvent[] = [];
  const end = (async () => {
    let text = '';
    for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      text += chunk;
      const blocks = text.split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) {
        const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? [];
        if (event && data) events.push({ event, data: JSON.parse(data) });
      }
    }
  })().catch(() => {});
  return { response, events, end, close: () => stop.abort() };
}

/** The sum of a field over the events `clicks`. */
export function sumOfClicks(events: readonly ReceivedEvent[], field: string): number {
  return events
    .filter(({ event }) => event === 'clicks')
    .reduce((sum, { data }) => sum + Number(data[field]), 0);
}
