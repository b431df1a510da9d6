import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { beforeAll, describe, expect, it } from 'vitest';
import { formatLinkKeys } from '../../common/config/link-keys.ts';
import { createVerifier } from '../../contract/link-token.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import type { Role } from '../../ledger/access/api-keys.ts';
import { addAdvertiser, readAdvertiser } from '../../ledger/accounts/advertisers.ts';
import { listBudgetEntries } from '../../ledger/accounts/budget-entries.ts';
import { listCampaigns } from '../../ledger/accounts/campaigns.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { DAY_MS, k1 } from '../support/link-samples.ts';
import { readPage } from '../support/markdown.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';
import { testApi } from './api-client.ts';

// The programs of docs/recipes.md, as they stand there.

const KILLS_MAX = 20;

const database = testDatabase();
const api = testApi(database, { LINK_KEYS: formatLinkKeys([k1]) });
const folder = suiteFolder();
let url: string;

beforeAll(async () => {
  await api.app.listen({ host: '127.0.0.1', port: 0 });
  url = `http://127.0.0.1:${(api.app.server.address() as AddressInfo).port}`;
  for (const [, name = '', program = ''] of readPage('docs/recipes.md').matchAll(
    /^```js (\S+)\n(.*?)^```$/gms,
  ))
    writeFileSync(join(folder, name), program);
});

function start(program: string, key: string, env: Record<string, string>): ChildProcessWithoutNullStreams {
  return spawn(process.execPath, [program], {
    cwd: folder,
    env: { PATH: process.env.PATH, TOLLWAY_URL: url, TOLLWAY_KEY: key, ...env },
  });
}

/** Runs a program to its end. Throws what it prints to standard error if it fails. */
async function run(program: string, key: string, env: Record<string, string>): Promise<void> {
  const child = start(program, key, env);
  const [errors, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  expect({ code, errors }).toEqual({ code: 0, errors: '' });
}

const addKey = (role: Role, advertiserId: number) => api.addKey({ role, advertiserIds: [advertiserId] });

describe('payments.mjs', () => {
  it('tops up each payment once, through retries and kills', { timeout: 120_000 }, async () => {
    const { id: advertiserId } = await addAdvertiser(database.pool, 'Payer', 'USD');
    const key = await addKey('finance', advertiserId);
    const [port = 0] = await freePorts(1);
    const begin = () => start('payments.mjs', key, { PORT: String(port) });
    let server = begin();
    let done = false;
    const kills = (async () => {
      const answers = () =>
        fetch(`http://127.0.0.1:${port}/`, { method: 'POST' }).then(
          () => true,
          () => false,
        );
      let count = 0;
      for (; !done && count < KILLS_MAX; count += 1) {
        await until('the server', answers);
        // Another moment of the work each time.
        await new Promise((resolve) => setTimeout(resolve, 23 * (count % 7)));
        const exited = once(server, 'exit');
        server.kill('SIGKILL');
        await exited;
        server = begin();
      }
      return count;
    })();
    /** The provider calls until it gets a 2xx answer, and sometimes once more. */
    const pay = async (number: number) => {
      const body = JSON.stringify({ id: `payment-${number}`, advertiserId, amount: '1.01' });
      const call = () =>
        fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body }).then(
          ({ status }) => status === 204,
          () => false,
        );
      await until(`payment ${number}`, call, 60_000);
      if (number % 3 === 0) await call();
    };
    for (let number = 0; number < 60; number += 6)
      await Promise.all(Array.from({ length: 6 }, (_, index) => pay(number + index)));
    done = true;
    expect(await kills).toBeGreaterThan(3);
    server.kill('SIGKILL');
    const entries = await listBudgetEntries(database.pool, advertiserId);
    expect(entries.map(({ reference }) => reference).sort()).toEqual(
      Array.from({ length: 60 }, (_, number) => `payment-${number}`).sort(),
    );
    expect((await readAdvertiser(database.pool, advertiserId)).budgetMicros).toBe(60_600_000n);
  });
});

describe('mirror.mjs', () => {
  it('mirrors campaigns, changes nothing the second time, and recovers from kills', {
    timeout: 120_000,
  }, async () => {
    const { advertiser, campaign } = await addAccount(database.pool);
    const key = await addKey('manager', advertiser.id);
    const env = { ADVERTISER_ID: String(advertiser.id) };
    const write = (campaigns: object[]) =>
      writeFileSync(join(folder, 'campaigns.json'), JSON.stringify(campaigns));
    const mirrored = async () =>
      (await listCampaigns(database.pool, { advertiserId: advertiser.id })).filter(
        ({ externalId }) => externalId !== null,
      );
    const many = Array.from({ length: 120 }, (_, number) => ({
      id: `crm/${number}`,
      name: `Campaign ${number}`,
      cap: '100.00',
    }));
    write(many);
    const killed = start('mirror.mjs', key, env);
    await until('the first campaigns', async () => (await mirrored()).length > 5);
    killed.kill('SIGKILL');
    await run('mirror.mjs', key, env);
    const first = await mirrored();
    expect(first.map(({ externalId }) => externalId).sort()).toEqual(many.map(({ id }) => id).sort());
    await run('mirror.mjs', key, env);
    expect(await mirrored()).toEqual(first);
    write([{ id: 'crm/7', name: 'Renamed', dailyCap: '5.00', pacing: 'even' }]);
    await run('mirror.mjs', key, env);
    expect(await mirrored()).toMatchObject([
      { externalId: 'crm/7', name: 'Renamed', capMicros: null, dailyCapMicros: 5_000_000n },
    ]);
    const left = await listCampaigns(database.pool, { advertiserId: advertiser.id });
    expect(left.map(({ id }) => id)).toContain(campaign.id);
  });
});

describe('links.mjs', () => {
  it('writes a thousand links, each valid and for itself', async () => {
    const { advertiser, ad } = await addAccount(database.pool);
    await run('links.mjs', await addKey('manager', advertiser.id), { AD_ID: String(ad.id) });
    const links = readFileSync(join(folder, 'links.txt'), 'utf8').trim().split('\n');
    expect(new Set(links).size).toBe(1_000);
    const verify = createVerifier([k1], 90 * DAY_MS);
    for (const link of links)
      expect(verify(new URL(link).pathname.slice(3))).toMatchObject({
        adId: ad.id,
        publisher: 'example-news',
      });
  });
});
