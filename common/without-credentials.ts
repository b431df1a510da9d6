/** Protocol, host, port and path of a URL. User and password are left out, and parameters, because some drivers take a password there. */
export function withoutCredentials(url: string): string {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname === '/' ? '' : pathname}`;
}
