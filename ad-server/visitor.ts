import { BlockList, isIP } from 'node:net';
import type { Config } from '../common/config.ts';
import { REFERRER_HOST_MAX } from '../producer/click-event.ts';

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
  const trusted = new BlockList();
  for (const { address, prefix } of proxies)
    trusted.addSubnet(address, prefix, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  const isTrusted = (address: string) => trusted.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');

  return (peer, forwardedFor) => {
    let address = withoutMapping(peer ?? '');
    if (proxies.length === 0 || forwardedFor === undefined || isIP(address) === 0 || !isTrusted(address))
      return address;
    const hops = String(forwardedFor).slice(-FORWARDED_MAX).split(',');
    for (const hop of hops.reverse()) {
      const next = withoutMapping(hop.trim());
      if (isIP(next) === 0) return address;
      address = next;
      if (!isTrusted(address)) return address;
    }
    return address;
  };
}

/** A dual-stack socket shows IPv4 peers as `::ffff:192.0.2.1`. */
function withoutMapping(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}

/** The network of an address, all that is kept of it: /24 of IPv4, /48 of IPv6. `null` for what is no address. */
export function truncateAddress(address: string): string | null {
  if (isIP(address) === 4) return `${address.slice(0, address.lastIndexOf('.'))}.0/24`;
  if (isIP(address) !== 6) return null;
  const [head = '', tail = ''] = (address.split('%')[0] ?? '').split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === '' ? [] : tail.split(':');
  const groups = address.includes('::')
    ? [...front, ...Array<string>(Math.max(0, 8 - front.length - back.length)).fill('0'), ...back]
    : front;
  return `${groups
    .slice(0, 3)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/48`;
}

/** The host of a `Referer`, or `null`. Its path and query may say too much about the visitor. */
export function referrerHost(referrer: string | undefined): string | null {
  if (referrer === undefined || !URL.canParse(referrer)) return null;
  const { host } = new URL(referrer);
  return host === '' ? null : host.slice(0, REFERRER_HOST_MAX);
}
