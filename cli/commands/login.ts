import { createLoginLink, LOGIN_LINK_MINUTES, loginUrl } from '../../ledger/access/login-links.ts';
import { command, type Output, withChange } from '../context.ts';
import { parseId } from '../parse.ts';
import { printJson, printLine, printNote } from '../print.ts';

type Options = Output & { key?: number };

export const login = command('login', 'Print a link that logs a browser in to the console once', [
  'login',
  'login --key 3',
])
  .option(
    '--key <id>',
    'API key whose role and restriction the browser gets; without it, that of an administrator',
    parseId,
  )
  .action(async ({ key: keyId, format }: Options) => {
    const { link, url } = await withChange(async (connection, { stack }) => {
      const made = await createLoginLink(connection, keyId);
      return { link: made, url: loginUrl(stack.consoleUrl, made) };
    });
    const { key, expiresAt } = link;
    if (format === 'json')
      return printJson({ url, keyId: key.id, role: key.role, expiresAt: expiresAt.toISOString() });
    printNote(
      `Logs one browser in with key ${key.id}, "${key.name}" (${key.role}). It can be used once, within ${LOGIN_LINK_MINUTES} minutes`,
    );
    printLine(url);
  });
