import { expect, it } from 'vitest';
import { type Conversation, frontPair, type Outcome, type Transport } from '../support/front-pair.ts';
import { createRandom, type Random } from '../support/random.ts';
import { mutate, plainRequest, recordedRequest, split } from '../support/request-mutations.ts';

/** How long the differential test runs, in s; TCP takes a quarter of it. */
const SECONDS = Number(process.env.HTTP_FRONT_FUZZ_SECONDS ?? 60);
const SEED = Number(process.env.HTTP_FRONT_FUZZ_SEED ?? Date.now() % 1_000_000_000);
/** Conversations at a time. */
const BATCH = { memory: 400, tcp: 100 } as const;

/** One or more requests, mutated or not, in one or more chunks. */
function conversation(random: Random): Conversation {
  const requests = Array.from({ length: random.chance(0.7) ? 1 : 1 + random.below(4) }, () => {
    let bytes = random.chance(0.7) ? plainRequest(random) : recordedRequest(random);
    const mutations = random.chance(0.25) ? 0 : 1 + random.below(3);
    for (let count = 0; count < mutations && bytes.length > 0; count += 1) bytes = mutate(bytes, random);
    return bytes;
  });
  const isJoined = random.chance(0.5);
  const parts = isJoined
    ? split(Buffer.concat(requests), random)
    : requests.flatMap((one) => split(one, random));
  // A plain request at the end shows in which state the connection is.
  return random.chance(0.5) ? parts : [...parts, plainRequest(random)];
}

it.each(['memory', 'tcp'] as const)(
  'answers, events and connections are those of node:http, whatever visitors send (%s)',
  { timeout: (SECONDS + 60) * 1_000 },
  async (transport: Transport) => {
    const random = createRandom(SEED);
    const pair = await frontPair();
    const until = performance.now() + SECONDS * (transport === 'tcp' ? 250 : 750);
    const counts = { conversations: 0, requests: 0, byFront: 0 };
    while (performance.now() < until) {
      const batch = Array.from({ length: BATCH[transport] }, () => conversation(random));
      const results = await pair.compare(batch, transport);
      for (const [index, { front, reference, taken, parsed }] of results.entries()) {
        counts.conversations += 1;
        counts.requests += taken;
        counts.byFront += Math.max(0, taken - parsed);
        const about = JSON.stringify({
          seed: SEED,
          sent: batch[index]?.map((chunk) => chunk.toString('latin1')),
        });
        expect(front, about).toEqual(reference satisfies Outcome);
      }
    }
    console.log(`HTTP_FRONT_FUZZ_SEED=${SEED} ${transport}: ${JSON.stringify(counts)}`);
    // A test in which node:http answers everything would prove nothing.
    expect(counts.byFront / counts.requests).toBeGreaterThan(0.3);
  },
);

it('plain requests of browsers and proxies are answered by the front', async () => {
  const random = createRandom(SEED);
  const pair = await frontPair();
  const batch = Array.from({ length: 200 }, () => [plainRequest(random)]);
  const results = [...(await pair.compare(batch, 'tcp')), ...(await pair.compare(batch, 'memory'))];
  expect(results.map(({ taken }) => taken)).toEqual(results.map(() => 1));
  expect(results.filter(({ parsed }) => parsed === 0)).toHaveLength(400);
});

it('CONNECT closes the connection at once, as with node:http', async () => {
  const pair = await frontPair();
  const sent = ['CONNECT /c/x HTTP/1.1\r\nHost: x\r\n\r\n', 'GET /c/x HTTP/1.1\r\nHost: x\r\n\r\n'];
  for (const transport of ['memory', 'tcp'] as const) {
    const [result] = await pair.compare([sent.map((text) => Buffer.from(text))], transport);
    expect(result?.front).toEqual({ received: '', events: [], answers: [], isClosed: [true, true] });
    expect(result?.reference).toEqual(result?.front);
  }
});

it('the 100 Continue that node:http sends between headers and body is not taken for the next response', async () => {
  const pair = await frontPair();
  const random = createRandom(1);
  const post = 'POST /c/x HTTP/1.1\r\nHost: go.example\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n';
  const batch = Array.from({ length: 9 }, () => [plainRequest(random), Buffer.from(post)]);
  const results = await pair.compare(batch, 'memory');
  for (const { front, reference } of results) {
    expect(reference.received).toMatch(/405 Method Not Allowed.*<page "Method not allowed">$/s);
    expect(front).toEqual(reference);
  }
});
