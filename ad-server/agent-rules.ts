import { readFileSync } from 'node:fs';
import { errorMessage, TollwayError } from '../common/errors.ts';
import { printable } from '../common/text.ts';

/** An exception to what isbot says of a user agent: one that contains `text`, in letters of any case, is a person's or a bot's. */
export type AgentRule = { readonly verdict: 'person' | 'bot'; readonly text: string };

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
    text: ' CFNetwork/',
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
 * Reads AGENT_RULES_FILE: a rule a line, `person TEXT` or `bot TEXT`; empty lines and those that begin with `#` say nothing.
 * Throws `bad_agent_rules` with the line that is wrong.
 */
export function readAgentRules(path: string): AgentRule[] {
  return parseAgentRules(path, readRulesFile(path));
}

/** The text of AGENT_RULES_FILE. Throws `bad_agent_rules` where it cannot be read. */
export function readRulesFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new TollwayError(
      'bad_agent_rules',
      `AGENT_RULES_FILE: expected a file that can be read, got ${errorMessage(error)}`,
      {
        cause: error,
      },
    );
  }
}

/** The rules of a text that was read from `path`. Throws `bad_agent_rules` with the line that is wrong. */
export function parseAgentRules(path: string, content: string): AgentRule[] {
  return content.split('\n').flatMap((given, index) => {
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
}
