#!/usr/bin/env node
import { cacheCompiledCode } from '../common/compile-cache.js';

cacheCompiledCode();
const { run } = await import('./run.ts');
await run(process.argv.slice(2));
