import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { settings } from '../common/config/config.ts';
import { EDGE_INVALID_REASONS } from '../contract/click-event.ts';
import { REJECT_REASONS } from '../ledger/dead-letters.ts';
import { readPage, rowsOf as tableRows } from './support/markdown.ts';

const root = join(import.meta.dirname, '..');
const readme = readPage('README.md');

const rowsOf = (headerCell: string) => tableRows(readme, headerCell);

describe('the README', () => {
  it('shows the test vectors of the links', () => {
    const vectors = JSON.parse(readFileSync(join(root, 'contract/vectors/links.json'), 'utf8')) as {
      secret: string;
      adId: number;
      nonce: string | null;
      expiry: number | null;
      token: string;
    }[];
    expect(rowsOf('ad')).toEqual(
      vectors.map(
        ({ adId, nonce, expiry, token }) =>
          `| ${adId} | ${nonce ?? 'none'} | ${expiry ?? 'none'} | \`${token}\` |`,
      ),
    );
    expect(new Set(vectors.map(({ secret }) => secret))).toEqual(
      new Set(['AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8']),
    );
    expect(readme).toContain('AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8');
  });

  it('names every reason for which a click is not charged', () => {
    const named = [
      ...rowsOf('outcome')
        .join('\n')
        .matchAll(/`(\w+)`/g),
    ].map(([, word]) => word);
    for (const reason of [...EDGE_INVALID_REASONS, 'repeat', 'budget', 'cap', ...REJECT_REASONS])
      expect(named).toContain(reason);
  });
});

describe('.env.example', () => {
  it('has every setting with its default', () => {
    const lines = readFileSync(join(root, '.env.example'), 'utf8').trim().split('\n').slice(1);
    expect(lines).toEqual(
      Object.entries(settings).map(
        ([name, setting]) => `# ${name}=${setting.default === 'unset' ? '' : setting.default}`,
      ),
    );
  });
});
