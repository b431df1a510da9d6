import type { Command } from 'commander';
import { expect, it } from 'vitest';
import { loadProgram } from '../../cli/program.ts';
import { testDatabase } from '../support/database.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();
const api = testApi(database);

/**
 * What both the command line and the API can do: the commands and the routes of the same task. One side of a row can have several entries,
 * because a PATCH does what several commands do.
 */
const PAIRS: readonly (readonly [commands: readonly string[], routes: readonly string[]])[] = [
  [['status'], ['GET /v1/status', 'GET /v1/operations']],
  [['advertiser add'], ['POST /v1/advertisers']],
  [['advertiser list'], ['GET /v1/advertisers', 'GET /v1/advertisers/:advertiserId']],
  [
    ['advertiser rename', 'advertiser update', 'advertiser pause', 'advertiser resume', 'advertiser archive'],
    ['PATCH /v1/advertisers/:advertiserId'],
  ],
  [['advertiser entries'], ['GET /v1/advertisers/:advertiserId/budget-entries']],
  [['advertiser top-up', 'advertiser adjust'], ['POST /v1/advertisers/:advertiserId/budget-entries']],
  [['campaign add'], ['POST /v1/campaigns']],
  [['campaign put'], ['PUT /v1/advertisers/:advertiserId/campaigns/by-external-id/:externalId']],
  [['campaign list'], ['GET /v1/campaigns']],
  [['campaign show'], ['GET /v1/campaigns/:campaignId']],
  [
    ['campaign update', 'campaign pause', 'campaign resume', 'campaign archive'],
    ['PATCH /v1/campaigns/:campaignId'],
  ],
  [['ad add'], ['POST /v1/ads']],
  [['ad list'], ['GET /v1/ads', 'GET /v1/ads/:adId']],
  [['ad update', 'ad pause', 'ad resume', 'ad archive'], ['PATCH /v1/ads/:adId']],
  [['link'], ['POST /v1/links']],
  [['click list'], ['GET /v1/clicks']],
  [['click show'], ['GET /v1/clicks/:reference']],
  [['click credit'], ['POST /v1/clicks/:clickId/credit', 'POST /v1/credits']],
  [['report'], ['GET /v1/reports']],
  [['statement'], ['GET /v1/advertisers/:advertiserId/statements/:month']],
  [['reconcile'], ['GET /v1/reconciliation']],
  [['export'], ['GET /v1/exports/clicks']],
  [['dead-letters list'], ['GET /v1/dead-letters']],
  [['dead-letters show'], ['GET /v1/dead-letters/:deadLetterId']],
  [['dead-letters redrive'], ['POST /v1/dead-letters/:deadLetterId/redrive']],
  [['dead-letters discard'], ['POST /v1/dead-letters/:deadLetterId/discard']],
  [['webhook add'], ['POST /v1/webhooks']],
  [['webhook list'], ['GET /v1/webhooks', 'GET /v1/webhooks/:webhookId']],
  [['webhook update', 'webhook pause', 'webhook resume'], ['PATCH /v1/webhooks/:webhookId']],
  [['webhook archive'], ['DELETE /v1/webhooks/:webhookId']],
  [['webhook rotate-secret'], ['POST /v1/webhooks/:webhookId/rotate-secret']],
  [['webhook test'], ['POST /v1/webhooks/:webhookId/test']],
  [['webhook deliveries'], ['GET /v1/webhooks/:webhookId/deliveries']],
  [['webhook attempts'], ['GET /v1/webhooks/:webhookId/deliveries/:eventId/attempts']],
  [
    ['webhook replay'],
    ['POST /v1/webhooks/:webhookId/deliveries/:eventId/replay', 'POST /v1/webhooks/:webhookId/replay-failed'],
  ],
  [['key create'], ['POST /v1/keys']],
  [['key list'], ['GET /v1/keys', 'GET /v1/keys/:keyId']],
  [['key revoke'], ['DELETE /v1/keys/:keyId']],
  [['audit list'], ['GET /v1/audit']],
  [['audit export'], ['GET /v1/exports/audit']],
];

/** Commands without a route, each with its reason. */
const COMMANDS_ONLY: Readonly<Record<string, string>> = {
  'evidence erase': 'deletes for good what belongs to no advertiser; the operator does it by hand',
  'failed-batches redrive': 'reads files on a disk of the machine, or the failure store of a function',
  rewind: 'reads a broker again, which takes minutes',
  maintain: 'runs for minutes; the processor does it by itself',
  'spool drain': 'works on a disk of the machine',
  'spool correct': 'is about a disk that was lost',
  'spool corrections': 'is about a disk that was lost',
  'topics create': 'sets up a broker',
  'samples add': 'is for first steps',
  top: 'is for a terminal; GET /v1/events has the same numbers',
  login: 'lets a browser in that has no key yet',
};

/** Routes without a command, each with its reason. */
const ROUTES_ONLY: Readonly<Record<string, string>> = {
  'GET /v1/events': 'is a stream for pages',
  'POST /v1/session': 'is for pages',
  'GET /v1/session': 'is for pages',
  'DELETE /v1/session': 'is for pages',
  'GET /v1/samples': 'is for the live page: a run is one of a console',
  'POST /v1/samples': 'is for the live page; npm run load sends clicks from the command line',
  'DELETE /v1/samples': 'is for the live page: a run is one of a console',
  'GET /v1/openapi.json': 'describes the API',
  'GET /v1/webhook-events': 'describes the types of events; docs/webhooks.md has them',
};

/** The commands that do something, such as `advertiser add`. */
function commandsOf(command: Command, path: readonly string[] = []): string[] {
  if (command.commands.length === 0) return [path.join(' ')];
  return command.commands.flatMap((one) => commandsOf(one, [...path, one.name()]));
}

it('each command has its routes, or a reason why it has none', async () => {
  const commands = commandsOf(await loadProgram([]));
  const listed = [...PAIRS.flatMap(([own]) => own), ...Object.keys(COMMANDS_ONLY)];
  expect(listed.toSorted()).toEqual(commands.toSorted());
});

it('each route has its commands, or a reason why it has none', () => {
  const routes = api.routes().filter((route) => route.includes(' /v1/'));
  const listed = [...PAIRS.flatMap(([, own]) => own), ...Object.keys(ROUTES_ONLY)];
  expect(listed.toSorted()).toEqual([...new Set(routes)].toSorted());
});
