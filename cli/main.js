#!/usr/bin/env -S node --disable-warning=TimeoutNegativeWarning
import { cacheCompiledCode } from '../common/compile-cache.js';

cacheCompiledCode();
const { run } = await import('./run.ts');
await run(process.argv.slice(2));
