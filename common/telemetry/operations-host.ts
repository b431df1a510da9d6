import { isIP } from 'node:net';

/**
 * Whether a `Host` header is accepted by an operations server. A website can resolve its own name to 127.0.0.1 and read the responses (DNS
 * rebinding); the browser then sends the name of the website. So only these are accepted:
 * - an IP address, as Kubernetes' probes and Prometheus' service discovery send it;
 * - a name without a dot, such as `localhost` or a service of Docker Compose or Kubernetes: no website has such a name;
 * - a name under `.localhost`, `.internal`, `.svc` or `.cluster.local`: no website can have such a name;
 * - the names in `allowed`, in lower case: `OPS_HOST` and `OPS_ALLOWED_HOSTS`.
 *
 * A request without the header (HTTP/1.0) is accepted, because no browser sends one.
 */
export function isOperationsHost(header: string | undefined, allowed: readonly string[]): boolean {
  if (header === undefined) return true;
  const name = nameOf(header);
  if (name === '') return false;
  if (isIP(name) !== 0) return true;
  if (!name.includes('.')) return true;
  return allowed.includes(name) || /\.(localhost|internal|svc|cluster\.local)$/.test(name);
}

/** The name or address of a `Host` header, without port, brackets and final dot. `''` if it is malformed. */
function nameOf(header: string): string {
  const [, v6, name] =
    /^(?:\[([0-9a-f:.]+(?:%[^\]]*)?)\]|([a-z0-9._-]+))(?::\d{1,5})?$/.exec(header.toLowerCase()) ?? [];
  return v6 ?? name?.replace(/\.$/, '') ?? '';
}
