import { COMPILE_CACHE, cacheCompiledCode } from '../../common/compile-cache.js';

cacheCompiledCode();
// The ad server and the processor, which it starts, use the cache too.
process.env.NODE_COMPILE_CACHE ??= COMPILE_CACHE;
const { runStack } = await import('./run-stack.ts');
await runStack();
