import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { settings } from '../../common/config/config.ts';

type Input = string | number | boolean | { type: string; required?: boolean; value: string };
type Action = {
  function: string;
  runtime: string;
  main: string;
  limits: { timeout: number; memorySize: number };
  annotations: Record<string, unknown>;
};
type Package = {
  inputs: Record<string, Input>;
  actions: Record<string, Action>;
  triggers: Record<string, { feed: string; inputs: Record<string, Input> }>;
  rules: Record<string, { trigger: string; action: string }>;
};
type Platform = { memoryMb: number; timeoutSeconds: number; schedule?: string };

const ROOT = join(import.meta.dirname, '..', '..');
const FOLDER = join(ROOT, 'deploy', 'openwhisk');
const read = (...path: string[]) => readFileSync(join(ROOT, 'deploy', ...path), 'utf8');

// Parsing boundaries: the tests below check the parts that they use.
const { packages } = parse(read('openwhisk', 'manifest.yaml')) as { packages: { tollway: Package } };
const { openwhiskActions } = JSON.parse(read('functions.json')) as {
  openwhiskActions: Record<string, Platform>;
};
const { inputs, actions, triggers, rules } = packages.tollway;

/** The platform's ranges. wskdeploy only warns about a limit out of range and leaves it out. */
const TIMEOUT_MS_MAX = 300_000;
const MEMORY_MIN_MB = 128;
const MEMORY_MAX_MB = 512;

const platforms = Object.entries(openwhiskActions).map(([action, platform]) => ({ action, ...platform }));

/** The environment variable that an input is set from. */
function variableOf(input: Input): string | undefined {
  const value = typeof input === 'object' ? input.value : input;
  return /^\$\{(\w+)\}$/.exec(String(value))?.[1];
}

function minutesOf(schedule: string | undefined): number {
  const [, count, unit] = /^rate\((\d+) (minute|hour|day)s?\)$/.exec(schedule ?? '') ?? [];
  return Number(count) * ({ minute: 1, hour: 60, day: 1_440 }[unit ?? ''] ?? Number.NaN);
}

/** The trigger whose rule starts an action. */
function triggerOf(action: string) {
  const started = Object.values(rules).filter((rule) => rule.action === action);
  expect(started).toHaveLength(1);
  return triggers[started[0]?.trigger ?? ''];
}

describe('deploy/openwhisk/manifest.yaml', () => {
  it('has three actions in one zip, each with the name of its export', () => {
    expect(Object.entries(actions).map(([name, { main }]) => [name, main])).toEqual([
      ['charge', 'main'],
      ['reconcile', 'reconcile'],
      ['maintain', 'maintain'],
    ]);
    for (const action of Object.values(actions)) {
      expect(resolve(FOLDER, action.function)).toBe(join(ROOT, 'dist', 'functions', 'openwhisk.zip'));
      expect(action.runtime).toBe('nodejs:20');
    }
  });

  it('prevents callers from changing the settings of an action, and gives actions no API key', () => {
    for (const { annotations } of Object.values(actions))
      expect(annotations).toEqual({ final: true, 'provide-api-key': false });
  });

  it('has the actions of functions.json', () => {
    expect(Object.keys(actions)).toEqual(Object.keys(openwhiskActions));
  });

  it.each(platforms)(
    'sets the limits of $action from functions.json',
    ({ action, memoryMb, timeoutSeconds }) => {
      expect(actions[action]?.limits).toEqual({ memorySize: memoryMb, timeout: timeoutSeconds * 1_000 });
    },
  );

  it('stays within the limits of the platform', () => {
    for (const { limits } of Object.values(actions)) {
      expect(limits.timeout).toBeLessThanOrEqual(TIMEOUT_MS_MAX);
      expect(limits.memorySize).toBeGreaterThanOrEqual(MEMORY_MIN_MB);
      expect(limits.memorySize).toBeLessThanOrEqual(MEMORY_MAX_MB);
    }
  });

  it('binds existing settings, each from the variable of the same name', () => {
    for (const [name, input] of Object.entries(inputs)) {
      expect(settings).toHaveProperty(name);
      if (name === 'BROKER') expect(input).toBe('kafka');
      else expect(variableOf(input)).toBe(name);
    }
  });

  it('uses variables only in texts, because wskdeploy does not replace them elsewhere', () => {
    const all = [
      ...Object.values(inputs),
      ...Object.values(triggers).flatMap((one) => Object.values(one.inputs)),
    ];
    for (const input of all) {
      if (variableOf(input) !== undefined && typeof input === 'object') expect(input.type).toBe('string');
    }
  });

  it('requires the necessary settings where wskdeploy reports missing ones', () => {
    const required = Object.entries(inputs).filter(
      ([, input]) => typeof input === 'object' && input.required,
    );
    expect(required.map(([name]) => name)).toEqual(['DATABASE_URL', 'KAFKA_BROKERS', 'KAFKA_TOPIC']);
    for (const { inputs: own } of Object.values(triggers)) {
      for (const input of Object.values(own)) expect(input).not.toHaveProperty('required');
    }
  });

  it('charges the clicks of the topic, with feed parameters that leave the values unchanged', () => {
    expect(triggerOf('charge')).toEqual({
      feed: '/whisk.system/messaging/kafkaFeed',
      inputs: {
        brokers: `\${KAFKA_BROKERS}`,
        topic: `\${KAFKA_TOPIC}`,
        isJSONData: false,
        isBinaryValue: false,
        isBinaryKey: false,
      },
    });
  });

  it.each(platforms.slice(1))('runs $action by the schedule of functions.json', ({ action, schedule }) => {
    expect(triggerOf(action)).toEqual({
      feed: '/whisk.system/alarms/interval',
      inputs: { minutes: minutesOf(schedule) },
    });
  });

  it('has a rule for each trigger and action, and none for others', () => {
    const all = Object.values(rules);
    expect(all.map(({ trigger }) => trigger).sort()).toEqual(Object.keys(triggers).sort());
    expect(all.map(({ action }) => action).sort()).toEqual(Object.keys(actions).sort());
  });
});
