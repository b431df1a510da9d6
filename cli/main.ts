#!/usr/bin/env node
const a: string = process.version;
console.log('cli', a, process.argv.slice(2));
