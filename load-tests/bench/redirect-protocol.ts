/** What the parent tells the servers and the client of the redirect bench. */
export type ServerRequest =
  | { readonly request: 'start'; readonly kind: ServerKind; readonly folder: string; readonly links: number }
  | { readonly request: 'usage' };
/** The bare reference, or the ad server with its spool, alone or with a relay to nowhere. */
export type ServerKind = 'bare' | 'spool' | 'relay';

/** `linksPath`: a file with a path of the server a line. */
export type ServerStarted = { readonly port: number; readonly linksPath: string };
/** CPU time since the process began, user and system, in µs. */
export type Usage = { readonly cpuMicros: number };

export type ClientRequest = {
  readonly port: number;
  readonly linksPath: string;
  readonly connections: number;
  readonly ms: number;
  /** What the last bytes of every answer are. */
  readonly answerEnd: string;
};
export type ClientResponse = {
  readonly answers: number;
  readonly seconds: number;
  readonly cpuMicros: number;
  /** Answers that were not a recorded 302. */
  readonly wrong: number;
};

/** Where every server of the bench sends people. */
export function destination(clickId: string): string {
  return `https://example.com/landing/page?click=${clickId}`;
}

/** CPU time of this process so far. */
export function usage(): Usage {
  const { user, system } = process.cpuUsage();
  return { cpuMicros: user + system };
}
