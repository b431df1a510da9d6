import { testRedirectOn } from './redirect-contract.ts';

testRedirectOn('kafka');
