import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { uuidV7 } from '../../common/uuid.ts';
import { adoptDeadSpools, adoptSpool, removeSpool } from '../../producer/dead-spools.ts';
import { encodePosition, readRelayed } from '../../producer/relay-position.ts';
import { Spool } from '../../producer/spool.ts';
import { forkChild, nextMessage, startPrinter } from '../support/child.ts';
import { silent } from '../support/loggers.ts';
import { append, bytesOnDisk, clickText, openSpool, ROOMY, readBack } from '../support/spool-fixture.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** Creates a spool and closes it, as if its owner had died. */
async function leaveSpool(root: string, clicks: readonly string[]): Promise<string> {
  const spool = new Spool({ ...ROOMY, root }, silent);
  if (clicks.length > 0) await append(spool, clicks);
  spool.close();
  return spool.folder;
}

describe('a spool with an owner', async () => {
  it('is never adopted, by another process or its own', async () => {
    const root = temporaryFolder();
    const owner = await startPrinter('append-for-ever', [root], 20);
    for (let count = 0; count < 50; count += 1)
      expect(await Array.fromAsync(adoptDeadSpools(root))).toEqual([]);
    const own = openSpool({ root });
    await append(own, ['a']);
    for (let count = 0; count < 50; count += 1)
      expect(await Array.fromAsync(adoptDeadSpools(root))).toEqual([]);
    expect(await adoptSpool(own.folder)).toBeNull();

    // The checks above have not released a lock: a third process cannot adopt a spool either.
    const third = forkChild('adopt', [root]);
    await nextMessage(third);
    third.send('adopt');
    expect(await nextMessage(third)).toEqual([]);
    await owner.kill();
    const adopted = await Array.fromAsync(adoptDeadSpools(root));
    expect(adopted.map(({ spoolId }) => spoolId)).toEqual([owner.lines()[0]]);
    for (const { release } of adopted) release();
  });

  it('is created while other processes adopt every spool that they find', async () => {
    const root = temporaryFolder();
    const adopters = [forkChild('adopt-for-ever', [root]), forkChild('adopt-for-ever', [root])];
    await Promise.all(adopters.map((adopter) => nextMessage(adopter)));
    for (let count = 0; count < 400; count += 1) {
      const spool = openSpool({ root });
      expect(await append(spool, ['a'])).toEqual([1]);
      spool.finish();
    }
  });
});

describe('a dead spool', async () => {
  it('is adopted with all accepted clicks', async () => {
    const root = temporaryFolder();
    const folder = await leaveSpool(root, ['a', 'b', 'c']);
    const [dead, ...more] = await Array.fromAsync(adoptDeadSpools(root));
    expect(more).toEqual([]);
    expect(dead).toMatchObject({ folder, accepted: 3, bytes: bytesOnDisk(folder) });
    expect(await Array.fromAsync(adoptDeadSpools(root))).toEqual([]);
    dead?.release();
    const again = await Array.fromAsync(adoptDeadSpools(root));
    expect(again).toHaveLength(1);
    for (const { release } of again) release();
  });

  it('is adopted by exactly one of eight concurrent processes', async () => {
    const root = temporaryFolder();
    const folders = await Promise.all(Array.from({ length: 12 }, () => leaveSpool(root, ['a', 'b'])));
    const adopters = Array.from({ length: 8 }, () => forkChild('adopt', [root]));
    await Promise.all(adopters.map((child) => nextMessage(child)));
    const found = adopters.map((child) => nextMessage<{ spoolId: string; accepted: number }[]>(child));
    for (const child of adopters) child.send('adopt');
    const adopted = (await Promise.all(found)).flat();
    expect(adopted.map(({ spoolId }) => join(root, spoolId)).sort()).toEqual(folders.sort());
    for (const { accepted } of adopted) expect(accepted).toBe(2);
    for (const child of adopters) child.send('release');
  });

  it('has its number of accepted clicks, even if all were relayed and deleted', async () => {
    const root = temporaryFolder();
    const folder = await leaveSpool(root, ['a', 'b', 'c']);
    for (const name of readdirSync(folder)) if (name.endsWith('.segment')) rmSync(join(folder, name));
    writeFileSync(join(folder, 'relayed'), encodePosition(3));
    const [dead] = await Array.fromAsync(adoptDeadSpools(root));
    expect(dead).toMatchObject({ accepted: 3, bytes: 0 });
    dead?.release();
  });

  it('with an empty last segment has the clicks of the segments before it', async () => {
    const root = temporaryFolder();
    const folder = await leaveSpool(root, ['a', 'b', 'c']);
    for (const leftover of ['', 'TOLLW', 'TOLLWAY SPOOL 1\n', 'TOLLWAY SPOOL 1\n\0\0\0\x05abc']) {
      writeFileSync(join(folder, '0000000000000004.segment'), leftover);
      const dead = await adoptSpool(folder);
      expect(dead?.accepted).toBe(3);
      expect(readBack(folder, 3)).toEqual({ clicks: ['a', 'b', 'c'], damaged: 0 });
      dead?.release();
    }
  });

  it('can be an empty folder, if its owner died before the first click', async () => {
    const root = temporaryFolder();
    const folder = join(root, uuidV7());
    mkdirSync(folder);
    const [dead] = await Array.fromAsync(adoptDeadSpools(root));
    expect(dead).toMatchObject({ folder, accepted: 0, bytes: 0 });
    removeSpool(folder);
    dead?.release();
    expect(existsSync(folder)).toBe(false);
  });

  it('can come from another host, without its lock file', async () => {
    const root = temporaryFolder();
    const folder = await leaveSpool(root, [clickText(1), clickText(2)]);
    rmSync(join(folder, 'lock'));
    const dead = await adoptSpool(folder);
    expect(dead?.accepted).toBe(2);
    expect(await adoptSpool(folder)).toBeNull();
    dead?.release();
  });

  it('can be given with a slash at the end of its path', async () => {
    const root = temporaryFolder();
    const folder = await leaveSpool(root, ['a']);
    const dead = await adoptSpool(`${folder}/`);
    expect(dead?.accepted).toBe(1);
    dead?.release();
  });
});

describe('something that is not a spool', async () => {
  it('is skipped in a folder of spools', async () => {
    const root = temporaryFolder();
    for (const name of ['lost+found', '.snapshot', 'not-a-uuid', uuidV7().toUpperCase()])
      mkdirSync(join(root, name));
    expect(await Array.fromAsync(adoptDeadSpools(root))).toEqual([]);
  });

  it('is refused with not_a_spool', async () => {
    const folder = join(temporaryFolder(), 'not-a-uuid');
    mkdirSync(folder);
    await expect(adoptSpool(folder)).rejects.toThrow(expect.objectContaining({ code: 'not_a_spool' }));
    expect(readdirSync(folder)).toEqual([]);
  });

  it('does not block the adoption of other spools: a file with the name of a spool', async () => {
    const root = temporaryFolder();
    writeFileSync(join(root, uuidV7()), 'a note');
    await leaveSpool(root, ['a']);
    const adopted = await Array.fromAsync(adoptDeadSpools(root));
    expect(adopted).toHaveLength(1);
    for (const { release } of adopted) release();
  });

  it('is not created by an adoption, if the folder does not exist', async () => {
    const folder = join(temporaryFolder(), uuidV7());
    expect(await adoptSpool(folder)).toBeNull();
    expect(existsSync(folder)).toBe(false);
    expect(() => readRelayed(folder)).not.toThrow();
  });

  it('is a missing root, which is created', async () => {
    const root = join(temporaryFolder(), 'data', 'spool');
    expect(await Array.fromAsync(adoptDeadSpools(root))).toEqual([]);
    expect(existsSync(root)).toBe(true);
  });
});

it('a dead spool that cannot be read is reported, stays where it is, and does not block other spools', async () => {
  const root = temporaryFolder();
  const good = basename(await leaveSpool(root, [clickText(1)]));
  const bad = join(root, uuidV7());
  // A folder instead of a segment: every read fails.
  mkdirSync(join(bad, '0000000000000001.segment'), { recursive: true });
  const reported: string[] = [];
  const adopted = await Array.fromAsync(
    adoptDeadSpools(root, { onUnreadable: (spoolId) => reported.push(spoolId) }),
  );
  expect(adopted.map(({ spoolId, accepted }) => ({ spoolId, accepted }))).toEqual([
    { spoolId: good, accepted: 1 },
  ]);
  expect(reported).toEqual([basename(bad)]);
  for (const { release } of adopted) release();
  await expect(Array.fromAsync(adoptDeadSpools(root))).rejects.toThrow();
  expect(existsSync(bad)).toBe(true);
});
