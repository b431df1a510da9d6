/**
 * Node's HTTP module. An `import` of it reads all that it exports, also `WebSocket`, for which Node loads its copy of undici: 28 ms of CPU time at
 * the start of each process. https://nodejs.org/docs/latest-v24.x/api/process.html#processgetbuiltinmoduleid
 */
export const { Agent, createServer, get, STATUS_CODES } = process.getBuiltinModule('node:http');
