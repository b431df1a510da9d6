import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createVisitorAddress, referrerHost, truncateAddress } from '../../ad-server/http/visitor.ts';
import { parseConfig } from '../../common/config/config.ts';

/** Finds the address of a visitor behind the proxies of a `TRUSTED_PROXIES`. */
function visitorBehind(proxies: string, peer: string | undefined, forwardedFor?: string | string[]): string {
  const { TRUSTED_PROXIES } = parseConfig({ TRUSTED_PROXIES: proxies });
  return createVisitorAddress(TRUSTED_PROXIES)(peer, forwardedFor);
}

describe("the visitor's address", () => {
  it('is the peer if no proxy is trusted, with any X-Forwarded-For', () => {
    expect(visitorBehind('', '198.51.100.7', '203.0.113.9')).toBe('198.51.100.7');
  });

  it('is the peer if it is not a trusted proxy, with any X-Forwarded-For', () => {
    expect(visitorBehind('10.0.0.0/8', '198.51.100.7', '203.0.113.9')).toBe('198.51.100.7');
    expect(visitorBehind('10.0.0.0/8', '198.51.100.7', '203.0.113.9, 10.0.0.1')).toBe('198.51.100.7');
  });

  it('is the one that a trusted proxy adds', () => {
    expect(visitorBehind('10.0.0.0/8', '10.1.2.3', '203.0.113.9')).toBe('203.0.113.9');
    expect(visitorBehind('2001:db8::/32', '2001:db8::1', '2001:db9::7')).toBe('2001:db9::7');
  });

  it('is the rightmost one that is not a trusted proxy, because the visitor can have written those left of it', () => {
    expect(visitorBehind('10.0.0.0/8', '10.1.2.3', '1.1.1.1, 203.0.113.9, 10.9.9.9')).toBe('203.0.113.9');
    expect(visitorBehind('10.0.0.0/8,::1', '::1', '1.1.1.1,203.0.113.9,10.9.9.9,10.9.9.8')).toBe(
      '203.0.113.9',
    );
  });

  it('is the leftmost one if all are trusted proxies', () => {
    expect(visitorBehind('10.0.0.0/8', '10.1.2.3', '10.0.0.5, 10.0.0.6')).toBe('10.0.0.5');
  });

  it('is the last trusted one if the next element is not an address', () => {
    expect(visitorBehind('10.0.0.0/8', '10.1.2.3', '203.0.113.9, unknown')).toBe('10.1.2.3');
    expect(visitorBehind('10.0.0.0/8', '10.1.2.3', '203.0.113.9, <script>, 10.0.0.6')).toBe('10.0.0.6');
    expect(visitorBehind('10.0.0.0/8', '10.1.2.3', '')).toBe('10.1.2.3');
  });

  it.each([
    '203.0.113.9, ',
    '203.0.113.9,',
    '203.0.113.9, , 10.0.0.6',
    ',203.0.113.9,,10.0.0.6, ',
    '203.0.113.9\t,\t',
  ])('is the same with empty elements in the list: "%s"', (list) => {
    expect(visitorBehind('10.0.0.0/8', '10.1.2.3', list)).toBe('203.0.113.9');
  });

  it('is an IPv4 address if it is mapped into IPv6', () => {
    expect(visitorBehind('', '::ffff:198.51.100.7')).toBe('198.51.100.7');
    expect(visitorBehind('10.0.0.0/8', '::ffff:10.1.2.3', '::ffff:203.0.113.9')).toBe('203.0.113.9');
  });

  it.each(['::FFFF:203.0.113.9', '::ffff:cb00:7109', '0:0:0:0:0:ffff:203.0.113.9'])(
    'keeps the IPv4 network of a mapped address however it is spelled: %s',
    (mapped) => {
      expect(truncateAddress(visitorBehind('10.0.0.0/8', '10.1.2.3', mapped))).toBe('203.0.113.0/24');
    },
  );

  it('is found in a repeated header', () => {
    expect(visitorBehind('10.0.0.0/8', '10.1.2.3', ['1.1.1.1', '203.0.113.9'])).toBe('203.0.113.9');
  });

  it('is empty for a peer that has disconnected', () => {
    expect(visitorBehind('10.0.0.0/8', undefined, '203.0.113.9')).toBe('');
  });

  it('is found in bounded time in a header of any length', () => {
    const hops = Array.from({ length: 100_000 }, () => '10.0.0.1').join(',');
    expect(visitorBehind('10.0.0.0/8', '10.1.2.3', `203.0.113.9,${hops}`)).toBe('10.0.0.1');
  });

  it('is always an address: the peer or an element of the header', () => {
    const hop = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string({ maxLength: 20 }), fc.constant('10.0.0.1'));
    fc.assert(
      fc.property(fc.array(hop, { maxLength: 6 }), (hops) => {
        expect(isIP(visitorBehind('10.0.0.0/8', '10.1.2.3', hops.join(',')))).toBeGreaterThan(0);
      }),
    );
  });
});

describe('the network of an address', () => {
  it.each([
    ['198.51.100.7', '198.51.100.0/24'],
    ['0.0.0.0', '0.0.0.0/24'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1::/48'],
    ['2001:DB8::1', '2001:db8:0::/48'],
    ['2001:0db8:0001::', '2001:db8:1::/48'],
    ['::1', '0:0:0::/48'],
    ['1::', '1:0:0::/48'],
    ['fe80::1%eth0', 'fe80:0:0::/48'],
    ['64:ff9b::192.0.2.1', '64:ff9b:0::/48'],
    ['::a:b:c:d:e:192.0.2.1', '0:a:b::/48'],
  ])('of %s is %s', (address, network) => {
    expect(truncateAddress(address)).toBe(network);
  });

  it.each(['', 'unknown', '198.51.100', '198.51.100.7:443', '[2001:db8::1]'])(
    'does not exist for "%s"',
    (text) => {
      expect(truncateAddress(text)).toBeNull();
    },
  );

  it('is the same for every address of the network', () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.nat({ max: 255 }), (address, host) => {
        const neighbour = address.replace(/\d+$/, String(host));
        expect(truncateAddress(neighbour)).toBe(truncateAddress(address));
      }),
    );
    const groups = fc.array(fc.nat({ max: 0xffff }), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(groups, groups, (one, other) => {
        const spell = (parts: number[]) => parts.map((part) => part.toString(16)).join(':');
        const neighbour = [...one.slice(0, 3), ...other.slice(3)];
        expect(truncateAddress(spell(neighbour))).toBe(truncateAddress(spell(one)));
      }),
    );
  });

  it('is the same for all forms of an IPv6 address', () => {
    fc.assert(
      fc.property(fc.ipV6(), (address) => {
        // The URL parser returns the canonical form of an address: RFC 5952.
        const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1);
        expect(truncateAddress(address)).toBe(truncateAddress(canonical));
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("the referrer's host", () => {
  it.each([
    ['https://publisher.example/path?query=secret#part', 'publisher.example'],
    ['http://publisher.example:8080/', 'publisher.example:8080'],
    ['https://user:secret@publisher.example/', 'publisher.example'],
    ['https://bücher.example/', 'xn--bcher-kva.example'],
    ['android-app://com.example.app/', 'com.example.app'],
  ])('of %s is %s', (referrer, host) => {
    expect(referrerHost(referrer)).toBe(host);
  });

  it.each([undefined, '', 'nonsense', 'about:blank', 'data:text/html,hi', 'https://'])(
    'of %s is none',
    (text) => {
      expect(referrerHost(text)).toBeNull();
    },
  );

  it('is truncated to 253 characters', () => {
    expect(referrerHost(`other://${'a'.repeat(1_000)}/`)).toHaveLength(253);
  });
});
