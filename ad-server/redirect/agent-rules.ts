import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Config } from '../../common/config/config.ts';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import { printable } from '../../common/text.ts';

/** An exception to what isbot says of a user agent: one that contains `text`, in letters of any case, is a person's or a bot's. */
export type AgentRule = { readonly verdict: 'person' | 'bot'; readonly text: string };

/** Most rules in a file: every new user agent is compared with each of them, before its redirect. */
const RULES_MAX = 1_000;

/** Exceptions that ship with Tollway, each with the report it was made after. */
const BUILT_IN: readonly (AgentRule & { readonly source: string })[] = [
  // People that isbot takes for bots: browsers inside apps, and phones whose model is called a bot.
  {
    verdict: 'person',
    text: '[FBAN/',
    source: 'omrilotan/isbot#314: the Facebook app, a carrier without a space',
  },
  { verdict: 'person', text: ' SmartNews/', source: 'omrilotan/isbot#254: the browser of the SmartNews app' },
  { verdict: 'person', text: ' NewsBreak/', source: 'omrilotan/isbot#254: the browser of the NewsBreak app' },
  { verdict: 'person', text: '; M bot ', source: 'JayBizzle/Crawler-Detect#283: phones of the M bot series' },
  // Programs that isbot takes for people.
  { verdict: 'bot', text: 'PowerShell/', source: 'Invoke-WebRequest of Microsoft PowerShell' },
  { verdict: 'bot', text: '(dart:io)', source: 'HttpClient of dart:io, so apps made with Flutter' },
  {
    verdict: 'bot',
    text: 'CFNetwork/',
    source:
      'matomo-org/device-detector#5463: URLSession of an Apple app, as for link previews; browsers do not send it',
  },
  {
    verdict: 'bot',
    text: 'ms-office',
    source: 'Microsoft Office looks at a link before it opens the browser',
  },
  {
    verdict: 'bot',
    text: 'Microsoft Office/',
    source: 'Microsoft Office looks at a link before it opens the browser',
  },
  { verdict: 'bot', text: 'Barracuda Sentinel', source: 'Barracuda scans the links of mail' },
];

/** The verdict of the first rule that fits a user agent, those of `more` before those of Tollway; `null` if none does. */
export function createRuleMatcher(
  more: readonly AgentRule[],
): (agent: string) => AgentRule['verdict'] | null {
  const rules = [...more, ...BUILT_IN].map(({ verdict, text }) => ({ verdict, text: text.toLowerCase() }));
  return (agent) => {
    const lower = agent.toLowerCase();
    return rules.find(({ text }) => lower.includes(text))?.verdict ?? null;
  };
}

/**
 * Reads AGENT_RULES_FILE, where it is set: a rule a line, `person TEXT` or `bot TEXT`; empty lines and those that begin with `#` are
 * skipped. Throws `bad_agent_rules` with what is wrong.
 */
export function rulesOf({ AGENT_RULES_FILE: path }: Pick<Config, 'AGENT_RULES_FILE'>): AgentRule[] {
  return path === undefined ? [] : parseAgentRules(path, readRulesFileSync(path));
}

/** The text of AGENT_RULES_FILE, for the start. Throws `bad_agent_rules` where it cannot be read. */
export function readRulesFileSync(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw unreadable(error);
  }
}

/** The same while clicks are served: the event loop does not wait for the disk. */
export async function readRulesFile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw unreadable(error);
  }
}

function unreadable(error: unknown): TollwayError {
  const message = `AGENT_RULES_FILE: expected a file that can be read, got ${errorMessage(error)}`;
  return new TollwayError('bad_agent_rules', message, { cause: error });
}

/** The rules of a text that was read from `path`. Throws `bad_agent_rules` with the line that is wrong, or where there are too many. */
export function parseAgentRules(path: string, content: string): AgentRule[] {
  const rules = content.split('\n').flatMap((given, index): AgentRule[] => {
    // This leaves out a byte order mark too.
    const line = given.trim();
    if (line === '' || line.startsWith('#')) return [];
    const [, verdict, text] = /^(person|bot)\s+(.+)$/.exec(line) ?? [];
    if (text === undefined) {
      throw new TollwayError(
        'bad_agent_rules',
        `AGENT_RULES_FILE: expected "person TEXT" or "bot TEXT" in line ${index + 1} of ${path}, got "${printable(line.slice(0, 100))}"`,
      );
    }
    // The pattern lets only these two through.
    return [{ verdict: verdict as AgentRule['verdict'], text }];
  });
  if (rules.length <= RULES_MAX) return rules;
  throw new TollwayError(
    'bad_agent_rules',
    `AGENT_RULES_FILE: expected at most ${RULES_MAX} rules in ${path}, got ${rules.length}`,
  );
}
