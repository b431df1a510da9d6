import { BlockList, isIP } from 'node:net';
import type { Config } from '../../common/config/config.ts';
import { REFERRER_HOST_MAX } from '../../contract/click-event.ts';

/** Longest `X-Forwarded-For` looked at, in characters. */
const FORWARDED_MAX = 2_000;

export type VisitorAddress = (
  peer: string | undefined,
  forwardedFor: string | string[] | undefined,
) => string;

/**
 * Finds a visitor's address: the peer's, or, where that is a trusted proxy, the rightmost address in
 * `X-Forwarded-For` that is not one. What lies left of it could have been written by the visitor.
 */
export function createVisitorAddress(proxies: Config['TRUSTED_PROXIES']): VisitorAddress {
  const isTrusted = createProxyCheck(proxies);

  return (peer, forwardedFor) => {
    let address = canonical(peer ?? '');
    if (proxies.length === 0 || forwardedFor === undefined || address === '' || !isTrusted(address))
      return address;
    const hops = String(forwardedFor).slice(-FORWARDED_MAX).split(',');
    for (const hop of hops.reverse()) {
      // An empty element of a list says nothing: RFC 9110 §5.6.1.2.
      if (hop.trim() === '') continue;
      const next = canonical(withoutPort(hop.trim()));
      if (next === '') return address;
      address = next;
      if (!isTrusted(address)) return address;
    }
    return address;
  };
}

/** Tells whether an address is one of the trusted proxies. */
export function createProxyCheck(proxies: Config['TRUSTED_PROXIES']): (address: string) => boolean {
  const trusted = new BlockList();
  for (const { address, prefix } of proxies)
    trusted.addSubnet(address, prefix, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  return (given) => {
    const address = canonical(given);
    return trusted.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  };
}

/** Some proxies write `192.0.2.1:5678` or `[2001:db8::1]:5678`. */
function withoutPort(hop: string): string {
  return /^\[([^\]]*)\](?::\d+)?$/.exec(hop)?.[1] ?? /^([\d.]+):\d+$/.exec(hop)?.[1] ?? hop;
}

const MAPPED = '::ffff:';

/** An address in its one spelling; a dual-stack socket shows IPv4 peers as `::ffff:192.0.2.1`. `''` for what is none. */
function canonical(address: string): string {
  const short = address.startsWith(MAPPED) ? address.slice(MAPPED.length) : address;
  if (isIP(short) === 4) return short;
  if (isIP(address) !== 6) return '';
  // The URL standard spells IPv6 addresses in one way only: https://url.spec.whatwg.org/#concept-ipv6-serializer
  const text = new URL(`http://[${address.split('%')[0]}]/`).hostname.slice(1, -1);
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(text) ?? [];
  if (high === undefined || low === undefined) return text;
  const [first, second] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return `${first >> 8}.${first & 255}.${second >> 8}.${second & 255}`;
}

/** The network of an address, all that is kept of it: /24 of IPv4, /48 of IPv6. `null` for what is no address. */
export function truncateAddress(given: string): string | null {
  const address = canonical(given);
  if (isIP(address) === 4) return `${address.slice(0, address.lastIndexOf('.'))}.0/24`;
  if (isIP(address) !== 6) return null;
  const [head = '', tail = ''] = address.split('::');
  const front = head.split(':').filter(Boolean);
  const back = tail.split(':').filter(Boolean);
  const zeros = Array<string>(8 - front.length - back.length).fill('0');
  return `${[...front, ...zeros, ...back].slice(0, 3).join(':')}::/48`;
}

/** The host of a `Referer`, or `null`. Its path and query may say too much about the visitor. */
export function referrerHost(referrer: string | undefined): string | null {
  const host = referrer === undefined ? '' : (URL.parse(referrer)?.host ?? '');
  return host === '' ? null : host.slice(0, REFERRER_HOST_MAX);
}
