import { join } from 'node:path';
import { expect, it } from 'vitest';
import { adoptSpool } from '../../producer/dead-spools.ts';
import { startPrinter } from '../support/child.ts';
import { readBack } from '../support/spool-fixture.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

it.each([1, 50, 500, 1_500, 4_000])(
  'every click that was accepted is readable after kill -9, with about %i of them',
  async (linesMin) => {
    const root = temporaryFolder();
    const child = await startPrinter('append-for-ever', [root, '65536'], linesMin + 1);
    const [spoolId = ''] = child.lines();
    expect(await adoptSpool(join(root, spoolId))).toBeNull();
    await child.kill();
    const [, ...printed] = child.lines();
    expect(printed).toEqual(printed.map((_, index) => String(index + 1)));

    const dead = await adoptSpool(join(root, spoolId));
    expect(dead?.accepted).toBeGreaterThanOrEqual(printed.length);
    const { clicks, damaged } = readBack(join(root, spoolId), dead?.accepted ?? 0);
    expect(damaged).toBe(0);
    expect(clicks).toHaveLength(dead?.accepted ?? 0);
    clicks.forEach((click, index) => {
      if (!click.startsWith(`${index + 1} `)) throw new Error(`Click ${index + 1} is ${click.slice(0, 20)}`);
    });
    dead?.release();
  },
);
