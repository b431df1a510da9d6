import type { FastifyReply, FastifyRequest } from 'fastify';

/** The cookie that holds the token of a session. */
export type SessionCookie = {
  readonly name: string;
  /** The values of all cookies of this name in a request: pages of other ports of the host can add another one with a longer path. */
  readonly valuesOf: (request: FastifyRequest) => string[];
  readonly set: (request: FastifyRequest, reply: FastifyReply, token: string) => void;
  readonly clear: (reply: FastifyReply) => void;
};

const ATTRIBUTES = 'Path=/; HttpOnly; SameSite=Strict';

/**
 * The cookie of the console with this port. The port is in its name because browsers send the cookies of a host to all of its ports, so
 * another console on the host would overwrite it. Scripts cannot read it, and other sites cannot have it sent.
 * https://www.rfc-editor.org/rfc/rfc6265#section-8.5
 */
export function sessionCookie(port: number): SessionCookie {
  const name = `tollway_session_${port}`;
  return {
    name,
    valuesOf: ({ headers }) =>
      (headers.cookie ?? '').split(';').flatMap((pair) => {
        const [key = '', ...value] = pair.trim().split('=');
        return key === name ? [value.join('=')] : [];
      }),
    set: ({ protocol }, reply, token) => {
      const secure = protocol === 'https' ? '; Secure' : '';
      reply.header('set-cookie', `${name}=${token}; ${ATTRIBUTES}${secure}`);
    },
    clear: (reply) => void reply.header('set-cookie', `${name}=; ${ATTRIBUTES}; Max-Age=0`),
  };
}
