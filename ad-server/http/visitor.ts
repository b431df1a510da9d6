/*
 * The address of a visitor and what is derived from it. Node's `isIP` and `BlockList`, not @fastify/proxy-addr and ipaddr.js: these take
 * 6.0 µs a click in place of 0.2 µs (IPv4, no proxy), of about 19 µs for a redirect; behind a proxy 6.4 in place of 1.6 µs. They also
 * return an address with a port (`192.0.2.1:5678`) as it is, and read `1` and `010.1.1.1` as addresses.
 */
import { BlockList, isIP } from 'node:net';
import type { Config } from '../../common/config/config.ts';
import { REFERRER_HOST_MAX } from '../../contract/click-event.ts';

/** Characters at the end of `X-Forwarded-For` that are read. */
const FORWARDED_MAX = 2_000;

/** Finds the address of a visitor from the peer of the connection and `X-Forwarded-For`. `''` if it is not known. */
export type VisitorAddress = (
  peer: string | undefined,
  forwardedFor: string | string[] | undefined,
) => string;

/**
 * Creates a function that finds the address of a visitor: the address of the peer or, if that is a trusted proxy, the rightmost address in
 * `X-Forwarded-For` that is not a trusted proxy. The visitor can have written the addresses left of it.
 */
export function createVisitorAddress(proxies: Config['TRUSTED_PROXIES']): VisitorAddress {
  const isTrusted = createProxyCheck(proxies);

  return (peer, forwardedFor) => {
    let address = canonical(peer ?? '');
    if (proxies.length === 0 || forwardedFor === undefined || address === '' || !isTrusted(address))
      return address;
    const hops = String(forwardedFor).slice(-FORWARDED_MAX).split(',');
    for (const hop of hops.reverse()) {
      // RFC 9110 §5.6.1.2 requires readers to ignore empty elements of a list.
      if (hop.trim() === '') continue;
      const next = canonical(withoutPort(hop.trim()));
      if (next === '') return address;
      address = next;
      if (!isTrusted(address)) return address;
    }
    return address;
  };
}

/** Creates a function that returns whether an address is a trusted proxy. */
export function createProxyCheck(proxies: Config['TRUSTED_PROXIES']): (address: string) => boolean {
  const trusted = new BlockList();
  for (const { address, prefix } of proxies)
    trusted.addSubnet(address, prefix, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  return (peer) => {
    const address = canonical(peer);
    return trusted.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  };
}

/** An address without the port that some proxies add: `192.0.2.1:5678`, `[2001:db8::1]:5678`. */
function withoutPort(hop: string): string {
  return /^\[([^\]]*)\](?::\d+)?$/.exec(hop)?.[1] ?? /^([\d.]+):\d+$/.exec(hop)?.[1] ?? hop;
}

const MAPPED = '::ffff:';

/** The canonical form of an address, or `''` for another text. A dual-stack socket shows IPv4 peers as `::ffff:192.0.2.1`. */
function canonical(address: string): string {
  const short = address.startsWith(MAPPED) ? address.slice(MAPPED.length) : address;
  if (isIP(short) === 4) return short;
  if (isIP(address) !== 6) return '';
  // The URL standard has one form for each IPv6 address: https://url.spec.whatwg.org/#concept-ipv6-serializer
  const text = new URL(`http://[${address.split('%')[0]}]/`).hostname.slice(1, -1);
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(text) ?? [];
  if (high === undefined || low === undefined) return text;
  const [first, second] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return `${first >> 8}.${first & 255}.${second >> 8}.${second & 255}`;
}

/** The network of an address, which is stored in place of the address: /24 of IPv4, /48 of IPv6. `null` for another text. */
export function truncateAddress(visitor: string): string | null {
  const address = canonical(visitor);
  if (address === '') return null;
  if (!address.includes(':')) return `${address.slice(0, address.lastIndexOf('.'))}.0/24`;
  const [head = '', tail = ''] = address.split('::');
  const front = head.split(':').filter(Boolean);
  const back = tail.split(':').filter(Boolean);
  const zeros = Array<string>(8 - front.length - back.length).fill('0');
  return `${[...front, ...zeros, ...back].slice(0, 3).join(':')}::/48`;
}

/** The host of a `Referer`, or `null`. Path and query are dropped, because they can contain personal data. */
export function referrerHost(referrer: string | undefined): string | null {
  const host = referrer === undefined ? '' : (URL.parse(referrer)?.host ?? '');
  return host === '' ? null : host.slice(0, REFERRER_HOST_MAX);
}
