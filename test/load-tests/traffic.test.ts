import { expect, it } from 'vitest';
import { createAgentJudge, isPrefetch } from '../../ad-server/redirect/invalid-traffic.ts';
import type { LinkKey } from '../../common/config/link-keys.ts';
import { createSigner, createVerifier } from '../../contract/link-token.ts';
import { type Arrival, createTraffic, type Kind, type Shares } from '../../load-tests/load/traffic.ts';

const { judge: judgeAgent } = createAgentJudge();

const KEYS: readonly LinkKey[] = [{ id: 'k1', state: 'signs', secret: Buffer.alloc(32, 1) }];
const verify = createVerifier(KEYS, 90 * 86_400_000);
const ADS = Array.from({ length: 100 }, (_, index) => index + 1);
const SHARES: Shares = {
  evergreen: 0.2,
  repeat: 0.05,
  robot: 0.1,
  prefetch: 0.05,
  forged: 0.05,
  newConnections: 0.25,
};
const COUNT = 20_000;

function arrivals(more: Partial<Parameters<typeof createTraffic>[2]> = {}, count = COUNT): Arrival[] {
  const next = createTraffic(ADS, createSigner(KEYS), { shares: SHARES, skew: 1, seed: 7, ...more });
  return Array.from({ length: count }, next);
}

const tokenOf = ({ path }: Arrival) => path.slice('/c/'.length);
const shareOf = (some: readonly Arrival[], is: (arrival: Arrival) => boolean) =>
  some.filter(is).length / some.length;

it('mixes kinds and connections by their shares', () => {
  const some = arrivals();
  for (const [kind, share] of Object.entries({ ...SHARES, fresh: 0.55 }).filter(
    ([name]) => name !== 'newConnections',
  ))
    expect(
      shareOf(some, (arrival) => arrival.kind === (kind as Kind)),
      kind,
    ).toBeCloseTo(share, 1);
  expect(shareOf(some, ({ onNewConnection }) => onNewConnection)).toBeCloseTo(0.25, 1);
});

it('generates arrivals of the given kind', () => {
  const seen = new Set<string>();
  for (const arrival of arrivals({}, 5_000)) {
    const link = verify(tokenOf(arrival));
    const { kind, headers, path } = arrival;
    expect(link === null, kind).toBe(kind === 'forged');
    expect(judgeAgent(headers['user-agent'] ?? '').isBot, kind).toBe(kind === 'robot');
    expect(isPrefetch(headers), kind).toBe(kind === 'prefetch');
    if (kind === 'fresh') expect(seen.has(path)).toBe(false);
    if (kind === 'repeat' && seen.size > 0) expect(seen.has(path)).toBe(true);
    if (kind === 'fresh' || kind === 'prefetch' || kind === 'repeat') seen.add(path);
    if (kind === 'evergreen') expect(link?.nonce).toBeNull();
  }
});

it('distributes clicks over ads by the skew and by the share of the top ad', () => {
  const clicksOf = (adId: number, some: readonly Arrival[]) =>
    some.filter((arrival) => verify(tokenOf(arrival))?.adId === adId).length;
  const uniform = arrivals({ skew: 0 });
  expect(clicksOf(1, uniform) / clicksOf(100, uniform)).toBeLessThan(2);
  const skewed = arrivals({ skew: 1 });
  expect(clicksOf(1, skewed) / clicksOf(10, skewed)).toBeGreaterThan(5);
  const stampede = arrivals({ topAdShare: 0.9, shares: { ...SHARES, repeat: 0 } });
  expect(clicksOf(1, stampede) / stampede.filter(({ kind }) => kind !== 'forged').length).toBeGreaterThan(
    0.88,
  );
});

it('generates the same sequence for the same seed, and a different one for a different seed', () => {
  const sequence = (seed: number) =>
    arrivals({ seed }, 200).map((arrival) => `${arrival.kind} ${tokenOf(arrival).split('.')[2]}`);
  expect(sequence(3)).toEqual(sequence(3));
  expect(sequence(3)).not.toEqual(sequence(4));
});
