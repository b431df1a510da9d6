import { isIP } from 'node:net';
import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import { isCalendarDate, isTimeInRange } from '../../common/unix-time.ts';
import { parseClickId } from '../../ledger/clicks/click-reference.ts';
import {
  eraseEvidenceOfClick,
  eraseEvidenceOfDay,
  eraseEvidenceOfNetwork,
} from '../../ledger/clicks/erase-evidence.ts';
import { explainCommit } from '../commit-unknown.ts';
import { cliActor, command, group, type Output, withDatabase } from '../context.ts';
import { printJson, printLine } from '../print.ts';

/** Longest prefix of a network that the ad server records, in bits. */
const PREFIX_MAX = { 4: 24, 6: 48 } as const;

/** Reads a network such as `203.0.113.0/24`. Throws `bad_network`. */
function parseNetwork(text: string): string {
  const [address = '', prefix = '', ...rest] = text.split('/');
  const version = isIP(address);
  const bits = /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN;
  if ((version === 4 || version === 6) && rest.length === 0 && bits >= 1 && bits <= PREFIX_MAX[version])
    return text;
  throw new TollwayError(
    'bad_network',
    `Expected an IPv4 network of at most /24 or an IPv6 network of at most /48, such as 203.0.113.0/24 or 2001:db8:7::/48, got "${text}". Addresses are not stored, only these networks`,
  );
}

/** Reads a UTC day into Unix ms. Throws `bad_time`. */
function parseDay(text: string): number {
  const day =
    /^\d{4}-\d{2}-\d{2}$/.test(text) && isCalendarDate(text) ? new Date(text) : new Date(Number.NaN);
  if (isTimeInRange(day)) return day.getTime();
  throw new TollwayError(
    'bad_time',
    `Expected a UTC day such as 2026-01-31, in the years 1970 to 9999, got "${text}"`,
  );
}

type Options = Output & { network?: string; day?: number; click?: string };

const erase = command('erase', 'Erase the evidence of the clicks of a network, of a day or of one click', [
  'evidence erase --network 203.0.113.0/24',
  'evidence erase --day 2026-01-31',
])
  .option(
    '--network <network>',
    'an IPv4 network of at most /24 or an IPv6 network of at most /48',
    parseNetwork,
  )
  .option('--day <day>', 'a UTC day, such as 2026-01-31', parseDay)
  .option('--click <click id>', 'id of a click, as in the header Tollway-Click', parseClickId)
  .action(async ({ format, network, day, click }: Options) => {
    if ([network, day, click].filter((given) => given !== undefined).length !== 1)
      throw new TollwayError('bad_options', 'Expected one of --network, --day and --click');
    await withDatabase(async (pool) => {
      const erasure =
        network !== undefined
          ? eraseEvidenceOfNetwork(pool, cliActor(), network)
          : day !== undefined
            ? eraseEvidenceOfDay(pool, cliActor(), day)
            : eraseEvidenceOfClick(pool, cliActor(), click ?? '');
      const erased = await erasure.catch((error: unknown) => {
        throw explainCommit(error, 'Repeat the command: what is erased stays erased');
      });
      if (format === 'json') printJson({ erased });
      else printLine(`Erased the evidence of ${counted(erased, 'click')}`);
    });
  });

export const evidence = group(
  'evidence',
  'Manage the network, user agent, referrer host and sub-ids of clicks',
  [erase],
);
