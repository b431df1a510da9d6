import { lookup, Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import { TollwayError } from '../../common/errors.ts';
import { isPublicAddress } from '../../common/public-address.ts';
import { hostOf, type TargetRule } from '../../ledger/webhooks/target-url.ts';

/** An address of a target, in the form of `dns.lookup` with `all`. */
export type Address = { readonly address: string; readonly family: 4 | 6 };
/** Resolves a host name to all its addresses. */
export type Resolve = (hostname: string) => Promise<readonly string[]>;

/** Time for one query to a DNS server, in ms, and how often it is repeated. */
const DNS_OPTIONS = { timeout: 2_000, tries: 2 };
/** Codes of a DNS answer without addresses of one family. */
const NO_ADDRESS = ['ENODATA', 'ENOTFOUND'];

/**
 * Resolves a public name by DNS alone. `dns.lookup` would also read /etc/hosts, and occupies one of the few threads of the process: slow DNS servers
 * of some targets could delay all others.
 */
export async function resolvePublic(hostname: string): Promise<string[]> {
  const resolver = new Resolver(DNS_OPTIONS);
  const answers = await Promise.allSettled([resolver.resolve4(hostname), resolver.resolve6(hostname)]);
  const addresses = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
  const failure = answers.find(
    (answer) => answer.status === 'rejected' && !NO_ADDRESS.includes(answer.reason?.code),
  );
  if (addresses.length === 0 && failure?.status === 'rejected') throw failure.reason;
  return addresses;
}

/** Resolves a name as other programs of the host do: /etc/hosts, search domains, the names of containers. */
export async function resolvePrivate(hostname: string): Promise<string[]> {
  return (await lookup(hostname, { all: true })).map(({ address }) => address);
}

/**
 * Returns the addresses of a target, to which the caller must connect without another look-up: a second look-up could give other addresses.
 * Throws `bad_url` if there is none, or if any of them is not public while only public targets are allowed.
 */
export async function checkedAddresses(url: URL, rule: TargetRule, resolve: Resolve): Promise<Address[]> {
  const host = hostOf(url);
  const addresses = isIP(host) === 0 ? await resolve(host) : [host];
  const checked = addresses.flatMap((address): Address[] => {
    const family = isIP(address);
    return family === 4 || family === 6 ? [{ address, family }] : [];
  });
  if (checked.length === 0) throw new TollwayError('bad_url', `Expected an address of ${host}, got none`);
  // The address is not in the message: an advertiser's own key can read it, and must not learn the names of a private network.
  if (rule === 'public' && !checked.every(({ address }) => isPublicAddress(address)))
    throw new TollwayError(
      'bad_url',
      `Expected public addresses only of ${host}, got one that is not public`,
    );
  return checked;
}
