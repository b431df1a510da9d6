import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tollwayHere } from '../support/run-here.ts';
import { tollway } from '../support/run-script.ts';
import { stackEnv, startStack, type TestStack } from '../support/stack.ts';
import { suiteFolder } from '../support/temporary-folder.ts';

const folder = suiteFolder();
let stack: TestStack;
beforeAll(async () => {
  stack = await startStack(await stackEnv(folder));
});
afterAll(async () => {
  await stack.stop();
});

describe('bad input on the command line', () => {
  it.each([
    [
      ['advertiser', 'top-up', '1', '12,50'],
      'Expected an amount with a point and no comma, such as 12.50, got "12,50"',
    ],
    [['advertiser', 'top-up', '1', '-5'], 'Expected an amount above 0, got "-5"'],
    [['advertiser', 'top-up', '99', '5'], 'Expected the id of an advertiser in the database, got 99'],
    [['advertiser', 'top-up', 'one', '5'], 'Expected an id, a whole number from 1, got "one"'],
    [['advertiser', 'adjust', '1', '-1000000'], 'the remaining budget of advertiser 1; got 1000000.00'],
    [
      ['advertiser', 'add', 'X', '--currency', 'usd'],
      'Expected a currency of ISO 4217, three capital letters such as USD, got "usd"',
    ],
    [
      ['ad', 'add', '1', '--price', '1', '--url', 'javascript:alert(1)'],
      'Expected a URL that begins with https:// or http://, got "javascript:alert(1)"',
    ],
    [
      ['ad', 'add', '1', '--price', '1', '--url', 'example.com'],
      'Expected an absolute URL such as https://example.com/?click={click_id}, got "example.com"',
    ],
    [
      ['ad', 'add', '1', '--price', '1', '--url', 'https://a:b@example.com/'],
      'Expected a URL without a user name or password',
    ],
    [
      ['ad', 'add', '77', '--price', '1', '--url', 'https://example.com/'],
      'Expected the id of a campaign in the database, got 77',
    ],
    [['ad', 'update', '1'], 'Expected --name, --price, --url or --pass, got none of them'],
    [['dead-letters', 'show', '999999'], 'Expected the id of a dead letter in the database, got 999999'],
    [
      ['spool', 'correct', '01a208fb-f934-70de-beaa-9335acbb4502', '--accepted', '1', '--reason', 'x'],
      'Expected the id of a spool in the database, got 01a208fb',
    ],
    [
      ['failed-batches', 'redrive', '/nowhere/at/all'],
      'a file or a folder, got /nowhere/at/all, which does not exist',
    ],
    [
      ['advertiser', 'add', 'X', '--budget', '99999999999999999'],
      'Expected an amount of at most 1000000000, got',
    ],
    [['ad', 'pause', '77'], 'Expected the id of an ad in the database, got 77'],
    [['link', '77'], 'Expected the id of an ad in the database, got 77'],
    [['link', '1', '--expires', '400d'], 'Expected a life of at most 90d (LINK_LIFE_MAX_DAYS), got 400d'],
    [
      ['link', '1', '--expires', 'soon'],
      'Expected a length of time such as 10s, 15m, 12h or 30d, got "soon"',
    ],
    [['click', 'credit', 'abc'], 'Expected a click id'],
    [
      ['click', 'credit', '01a208fb-f934-70de-beaa-9335acbb4502'],
      'The ledger has no click 01a208fb-f934-70de-beaa-9335acbb4502',
    ],
    [['rewind', '--since', 'yesterday'], 'Expected a time such as'],
    [['dead-letters', 'redrive'], 'Expected ids or --all, got neither'],
    [['spool', 'drain', '/nowhere/at/all'], 'got /nowhere/at/all, which does not exist'],
    [['spool', 'drain', '/etc'], 'Expected a spool or a folder of spools, got /etc'],
    [['tpo-up'], "unknown command 'tpo-up'"],
  ])('%j says what was expected and what came', async (args, message) => {
    const { code, stdout, stderr } = await tollwayHere(stack.env, ...args);
    expect(stderr).toContain(message);
    expect(stdout).toBe('');
    expect(code).toBe(1);
  });

  it('without a running stack says how to have one', async () => {
    const { code, stderr } = await tollway(
      { ...stack.env, DATA_DIR: join(folder, 'nothing') },
      'advertiser',
      'list',
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^Expected a running stack in .* or DATABASE_URL, got neither: run npm start first, or set DATABASE_URL\n$/,
    );
  });

  it('with a database that does not answer says so', async () => {
    const { code, stderr } = await tollway(
      { ...stack.env, DATABASE_URL: 'postgres://u:p@127.0.0.1:1/x' },
      'advertiser',
      'list',
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(/^The database does not answer: /);
  });
});
