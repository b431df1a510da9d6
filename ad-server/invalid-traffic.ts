import { isbot } from 'isbot';

/** User agents that are remembered, twice over: the pattern takes over a microsecond, and few agents make most clicks. */
const AGENTS_MAX = 2_000;
/** What is looked at of a user agent, in characters: a robot names itself before that. */
const AGENT_CHARACTERS_MAX = 512;

/** What is known of a user agent. */
export type Agent = {
  /** It says of itself that it is a robot, or no browser at all (`curl`, `python-requests`). */
  readonly isRobot: boolean;
  /** Stands for its text, which may be long, in the memory of double clicks. */
  readonly number: number;
};

/** Those seen of late, and those before them: who comes back while they are known is the same as before. */
let agents = new Map<string, Agent>();
let formerAgents = new Map<string, Agent>();
let agentsSeen = 0;

/** Judges a user agent by its first characters; `''` stands for none, which is not held against anybody. */
export function judgeAgent(sent: string): Agent {
  const text = sent.length > AGENT_CHARACTERS_MAX ? sent.slice(0, AGENT_CHARACTERS_MAX) : sent;
  const known = agents.get(text);
  if (known !== undefined) return known;
  if (agents.size >= AGENTS_MAX) {
    formerAgents = agents;
    agents = new Map();
  }
  const agent = formerAgents.get(text) ?? { isRobot: isbot(text), number: ++agentsSeen };
  // A copy: a slice would keep the whole of a long header alive.
  agents.set(Buffer.from(text, 'latin1').toString('latin1'), agent);
  return agent;
}

/** Whether a request only fetches ahead of a person who may never click. */
export function isPrefetch(headers: Readonly<Record<string, string | string[] | undefined>>): boolean {
  return (
    starts(headers['sec-purpose'], 'prefetch') ||
    starts(headers.purpose, 'prefetch') ||
    starts(headers['x-purpose'], 'preview') ||
    starts(headers['x-moz'], 'prefetch')
  );
}

function starts(header: string | string[] | undefined, word: string): boolean {
  return typeof header === 'string' && header.toLowerCase().startsWith(word);
}
