/**
 * `npm start` loads this with `--import` before a part: it loads the modules of the part while the database starts, and then waits for the settings,
 * which name the database. Workers that the part starts skip it.
 */
import { once } from 'node:events';
import { delimiter } from 'node:path';
import { pathToFileURL } from 'node:url';
import { PRELOADED } from './preload-setting.ts';

const files = process.env[PRELOADED];
delete process.env[PRELOADED];
if (files !== undefined) {
  // The channel closes when `npm start` ends.
  const end = () => process.exit(0);
  process.once('disconnect', end);
  const settings = once(process, 'message');
  for (const file of files.split(delimiter)) await import(pathToFileURL(file).href);
  Object.assign(process.env, (await settings)[0]);
  process.off('disconnect', end);
}
