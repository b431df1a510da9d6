/** What the ad server records about a visitor. */
export type Visitor = {
  readonly visitorNetwork: string;
  readonly userAgent: string;
  readonly referrerHost: string | null;
};

const SYSTEMS = [
  'Windows NT 10.0; Win64; x64',
  'Macintosh; Intel Mac OS X 10_15_7',
  'X11; Linux x86_64',
  'Linux; Android 10; K',
  'iPhone; CPU iPhone OS 18_5 like Mac OS X',
] as const;
const VERSIONS = Array.from({ length: 40 }, (_, index) => 100 + index);
/** Some hundred texts: two browsers in forty versions on five systems. */
const USER_AGENTS = SYSTEMS.flatMap((system) =>
  VERSIONS.flatMap((version) => [
    `Mozilla/5.0 (${system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${version}.0.0.0 Safari/537.36`,
    `Mozilla/5.0 (${system}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.${version % 10} Mobile/15E${version} Safari/604.1`,
  ]),
);
const REFERRER_HOSTS = Array.from({ length: 20 }, (_, index) => `publisher-${index}.example`);

const below = (count: number) => Math.floor(Math.random() * count);

/**
 * A visitor like those of real traffic: networks that hardly repeat, some of them IPv6, a user agent of some hundred of which few make
 * most clicks, and one of twenty referring hosts or none.
 */
export function randomVisitor(): Visitor {
  const isIpv6 = Math.random() < 0.3;
  return {
    visitorNetwork: isIpv6
      ? `2a${below(100)}:${below(65_536).toString(16)}:${below(65_536).toString(16)}::/48`
      : `${1 + below(223)}.${below(256)}.${below(256)}.0/24`,
    userAgent: USER_AGENTS[Math.floor(USER_AGENTS.length * Math.random() ** 3)] ?? '',
    referrerHost: Math.random() < 0.3 ? null : (REFERRER_HOSTS[below(REFERRER_HOSTS.length)] ?? null),
  };
}
