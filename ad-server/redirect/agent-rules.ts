import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Config } from '../../common/config/config.ts';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import { printable } from '../../common/text.ts';

/** An exception to isbot: a user agent that contains `text` (case-insensitive) has this verdict. */
export type AgentRule = { readonly verdict: 'person' | 'bot'; readonly text: string };

/** Maximum rules in a file. Every new user agent is compared with each of them before its redirect. */
const RULES_MAX = 1_000;

/** Built-in exceptions, each with its source. */
const BUILT_IN: readonly (AgentRule & { readonly source: string })[] = [
  // False positives of isbot: in-app browsers, and phones with "bot" in the name of their model.
  {
    verdict: 'person',
    text: '[FBAN/',
    source: 'omrilotan/isbot#314: the Facebook app, a carrier without a space',
  },
  { verdict: 'person', text: ' SmartNews/', source: 'omrilotan/isbot#254: the browser of the SmartNews app' },
  { verdict: 'person', text: ' NewsBreak/', source: 'omrilotan/isbot#254: the browser of the NewsBreak app' },
  { verdict: 'person', text: '; M bot ', source: 'JayBizzle/Crawler-Detect#283: phones of the M bot series' },
  // False negatives of isbot.
  { verdict: 'bot', text: 'PowerShell/', source: 'Invoke-WebRequest of Microsoft PowerShell' },
  { verdict: 'bot', text: '(dart:io)', source: 'HttpClient of dart:io, in apps made with Flutter' },
  {
    verdict: 'bot',
    text: 'CFNetwork/',
    source:
      'matomo-org/device-detector#5463: URLSession of an Apple app, as for link previews; browsers do not send it',
  },
  {
    verdict: 'bot',
    text: 'ms-office',
    source: 'Microsoft Office requests a link before it opens the browser',
  },
  {
    verdict: 'bot',
    text: 'Microsoft Office/',
    source: 'Microsoft Office requests a link before it opens the browser',
  },
  { verdict: 'bot', text: 'Barracuda Sentinel', source: 'Barracuda scans links in e-mail' },
];

/** Creates a function that returns the verdict of the first matching rule, `more` before the built-in ones, or `null`. */
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
 * Reads AGENT_RULES_FILE if it is set: one rule per line, `person TEXT` or `bot TEXT`. Empty lines and lines that begin with `#` are
 * skipped. Throws `bad_agent_rules`.
 */
export function rulesOf({ AGENT_RULES_FILE: path }: Pick<Config, 'AGENT_RULES_FILE'>): AgentRule[] {
  return path === undefined ? [] : parseAgentRules(path, readRulesFileSync(path));
}

/** Reads the text of AGENT_RULES_FILE at startup. Throws `bad_agent_rules` if it cannot be read. */
export function readRulesFileSync(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw unreadable(error);
  }
}

/** Like {@link readRulesFileSync}, but without blocking the event loop, for use while clicks are served. */
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

/** Parses the text of the rules file `path`. Throws `bad_agent_rules` with the number of the wrong line, or if there are too many rules. */
export function parseAgentRules(path: string, content: string): AgentRule[] {
  const rules = content.split('\n').flatMap((rawLine, index): AgentRule[] => {
    // `trim` also removes a byte order mark.
    const line = rawLine.trim();
    if (line === '' || line.startsWith('#')) return [];
    const [, verdict, text] = /^(person|bot)\s+(.+)$/.exec(line) ?? [];
    if (text === undefined) {
      throw new TollwayError(
        'bad_agent_rules',
        `AGENT_RULES_FILE: expected "person TEXT" or "bot TEXT" in line ${index + 1} of ${path}, got "${printable(line.slice(0, 100))}"`,
      );
    }
    // The pattern matches these two verdicts only.
    return [{ verdict: verdict as AgentRule['verdict'], text }];
  });
  if (rules.length <= RULES_MAX) return rules;
  throw new TollwayError(
    'bad_agent_rules',
    `AGENT_RULES_FILE: expected at most ${RULES_MAX} rules in ${path}, got ${rules.length}`,
  );
}
