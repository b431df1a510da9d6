/** The requests from the parent process to a server of the redirect benchmark. */
export type ServerRequest =
  | { readonly request: 'start'; readonly kind: ServerKind; readonly folder: string; readonly links: number }
  | { readonly request: 'usage' };
/** A bare `node:http`, or the ad server with its spool, without a relay or with a relay whose publisher discards all clicks. */
export type ServerKind = 'bare' | 'spool' | 'relay';

/** `linksPath`: a file with the paths of links, one per line. */
export type ServerStarted = { readonly port: number; readonly linksPath: string };
/** CPU time (user and system) since the start of the process, in µs. */
export type Usage = { readonly cpuMicros: number };

export type ClientRequest = {
  readonly port: number;
  readonly linksPath: string;
  readonly connections: number;
  readonly ms: number;
  /** The last bytes of every answer. */
  readonly answerEnd: string;
};
export type ClientResponse = {
  readonly answers: number;
  readonly seconds: number;
  readonly cpuMicros: number;
  /** Number of answers that were not a 302 of a recorded click. */
  readonly wrong: number;
};

/** The redirect target of all servers of the benchmark. */
export function destination(clickId: string): string {
  return `https://example.com/landing/page?click=${clickId}`;
}

/** CPU time of this process. */
export function usage(): Usage {
  const { user, system } = process.cpuUsage();
  return { cpuMicros: user + system };
}
