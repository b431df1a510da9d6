import { isIP } from 'node:net';

/**
 * Whether a `Host` header names an operations server. A page on the web can point a name of its own at 127.0.0.1 and read what is
 * served there (DNS rebinding); the browser then sends that name. So these are taken, and no other:
 * - an IP address, as Kubernetes' probes and Prometheus' service discovery send it;
 * - a name without a dot, such as `localhost` or a service of Docker Compose or Kubernetes: no website has one;
 * - a name under `.localhost`, `.internal`, `.svc` or `.cluster.local`: no website can have one;
 * - the names in `allowed`, in lower case: `OPS_HOST` and `OPS_ALLOWED_HOSTS`.
 *
 * A request without the header (HTTP/1.0) comes from no browser, and is taken.
 */
export function isOperationsHost(header: string | undefined, allowed: readonly string[]): boolean {
  if (header === undefined) return true;
  const name = nameOf(header);
  if (name === '') return false;
  if (isIP(name) !== 0) return true;
  if (!name.includes('.')) return true;
  return allowed.includes(name) || /\.(localhost|internal|svc|cluster\.local)$/.test(name);
}

/** The name or address of a `Host` header, without port, brackets and final dot; empty if it is malformed. */
function nameOf(header: string): string {
  const [, v6, name] =
    /^(?:\[([0-9a-f:.]+(?:%[^\]]*)?)\]|([a-z0-9._-]+))(?::\d{1,5})?$/.exec(header.toLowerCase()) ?? [];
  return v6 ?? name?.replace(/\.$/, '') ?? '';
}
