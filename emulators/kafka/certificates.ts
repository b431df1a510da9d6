import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Guard, runToEnd } from '../process/guarded-process.ts';

/** A certificate and its key, as PEM files and as their text. */
export type KeyPair = {
  readonly certPath: string;
  readonly keyPath: string;
  readonly cert: string;
  readonly key: string;
};

/** A private certificate authority and two certificates that it signed, valid for one day. */
export type Certificates = {
  readonly authority: KeyPair;
  /** Valid for localhost and 127.0.0.1. */
  readonly server: KeyPair;
  readonly client: KeyPair;
};

/** Creates certificates with `openssl` in the folder of a guard. Throws an error with the output of `openssl` if it fails. */
export async function makeCertificates(guard: Guard): Promise<Certificates> {
  await writeFile(
    join(guard.folder, 'server.ext'),
    'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n',
  );
  await writeFile(join(guard.folder, 'client.ext'), 'extendedKeyUsage=clientAuth\n');
  const subject = (name: string) => ['-subj', `/CN=${name}`];
  const key = (name: string) => ['-newkey', 'rsa:2048', '-nodes', '-keyout', `${name}.key`];
  const openssl = (...args: string[]) => runToEnd(guard, 'openssl', args);

  const authority = ['-addext', 'keyUsage=critical,keyCertSign,cRLSign', '-out', 'authority.pem'];
  await openssl('req', '-x509', '-days', '1', ...key('authority'), ...subject('Tollway tests'), ...authority);
  for (const name of ['server', 'client']) {
    await openssl('req', '-new', ...key(name), ...subject(name), '-out', `${name}.csr`);
    const signer = ['-CA', 'authority.pem', '-CAkey', 'authority.key', '-CAcreateserial'];
    const signed = ['-days', '1', '-extfile', `${name}.ext`, '-out', `${name}.pem`];
    await openssl('x509', '-req', '-in', `${name}.csr`, ...signer, ...signed);
  }
  return {
    authority: await readPair(guard, 'authority'),
    server: await readPair(guard, 'server'),
    client: await readPair(guard, 'client'),
  };
}

async function readPair({ folder }: Guard, name: string): Promise<KeyPair> {
  const certPath = join(folder, `${name}.pem`);
  const keyPath = join(folder, `${name}.key`);
  return {
    certPath,
    keyPath,
    cert: await readFile(certPath, 'utf8'),
    key: await readFile(keyPath, 'utf8'),
  };
}
