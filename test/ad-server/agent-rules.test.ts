import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { rulesOf } from '../../ad-server/redirect/agent-rules.ts';
import { followAgentRules } from '../../ad-server/redirect/agent-rules-file.ts';
import { createHiddenAgentsCheck } from '../../ad-server/redirect/hidden-agents-log.ts';
import { createAgentJudge } from '../../ad-server/redirect/invalid-traffic.ts';
import { CHROME } from '../support/redirect-fixture.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

const memoryLogger = () => {
  const lines: string[] = [];
  return { lines, logger: pino({}, { write: (line: string) => lines.push(line) }) };
};

const readRules = (path: string) => rulesOf({ AGENT_RULES_FILE: path });

describe('a judge with the built-in rules only', () => {
  const { judge } = createAgentJudge();

  it.each([
    '[FBAN/FB4A;FBAV/500.0.0.1.2;FBBV/1;FBLC/nl_NL;FBRV/0;FBCR/KPN;FBMF/samsung;FBPN/com.facebook.katana;FBSV/16;FBOP/1;]',
    '[FBAN/Orca-Android;FBAV/400.0.0.1;FBCR/KPN;FBPN/com.facebook.orca;]',
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 SmartNews/24.10.1',
    'Mozilla/5.0 (Linux; Android 13; SM-A) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120 Mobile Safari/537.36 NewsBreak/24.1',
    'Mozilla/5.0 (Linux; Android 7.0; M bot 60 Build/NRD90M; wv) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/67.0 Mobile Safari/537.36',
    'Mozilla/5.0 (Linux; Android 10; CUBOT X30) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36',
    'Amazon CloudFront',
    CHROME,
  ])('does not judge as a bot: %s', (agent) => {
    expect(judge(agent).isBot).toBe(false);
  });

  it.each([
    'Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.19041.1',
    'Mozilla/5.0 (Windows NT 10.0; Microsoft Windows 10.0.19045; en-US) PowerShell/7.4.0',
    'Dart/3.2 (dart:io)',
    'Viber/13 CFNetwork/1209 Darwin/20.2.0',
    'SomeApp/1 CFNetwork/1490.0.4 Darwin/23.2.0',
    'CFNetwork/1410.0.3 Darwin/22.6.0',
    'Mozilla/4.0 (compatible; ms-office; MSOffice 16)',
    'Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.4266; Pro)',
    'Mozilla/5.0 (compatible; Barracuda Sentinel (EE))',
    'facebookexternalhit/1.1 Facebot Twitterbot/1.0',
  ])('judges as a bot: %s', (agent) => {
    expect(judge(agent).isBot).toBe(true);
  });
});

describe('AGENT_RULES_FILE', () => {
  const file = (content: string): string => {
    const path = join(temporaryFolder(), 'rules');
    writeFileSync(path, content);
    return path;
  };

  it('has one rule per line, which precede the built-in rules', () => {
    const rules = readRules(file('\ufeff# ours\n\nperson curl/8\r\nbot   FBAN/ \nbot Acme Viewer\n'));
    expect(rules).toEqual([
      { verdict: 'person', text: 'curl/8' },
      { verdict: 'bot', text: 'FBAN/' },
      { verdict: 'bot', text: 'Acme Viewer' },
    ]);
    const { judge } = createAgentJudge('person', rules);
    expect(judge('CURL/8.1').isBot).toBe(false);
    expect(judge('curl/7.1').isBot).toBe(true);
    expect(judge('[FBAN/FB4A;FBCR/NL KPN;]').isBot).toBe(true);
    expect(judge(`${CHROME} acme viewer`).isBot).toBe(true);
  });

  it.each([
    ['maybe curl\n', 'in line 1 of'],
    ['bot curl\nperson\n', 'in line 2 of'],
    ['bot \u001b[31m\nx', 'in line 2 of'],
  ])('with %j is refused, with the number of the line', (content, message) => {
    expect(() => readRules(file(content))).toThrow(
      expect.objectContaining({ code: 'bad_agent_rules', message: expect.stringContaining(message) }),
    );
  });

  it('that does not exist is refused', () => {
    expect(() => readRules('/nowhere/rules')).toThrow('AGENT_RULES_FILE: expected a file that can be read');
  });

  it('has at most a thousand rules', () => {
    expect(readRules(file('bot x\n'.repeat(1_000)))).toHaveLength(1_000);
    expect(() => readRules(file('bot x\n'.repeat(1_001)))).toThrow('expected at most 1000 rules');
  });

  it('is read again when it changes; while it is invalid or missing, the previous rules stay', async () => {
    const path = file('bot Acme Viewer\n');
    const { lines, logger } = memoryLogger();
    const agents = createAgentJudge();
    onTestFinished(followAgentRules(path, agents, logger, 5));
    const isBot = () => agents.judge(`${CHROME} Acme Viewer`).isBot;
    expect(isBot()).toBe(true);
    const replace = (content: string) => {
      writeFileSync(`${path}.new`, content);
      renameSync(`${path}.new`, path);
    };
    replace('maybe\n');
    const problem = () => lines.find((line) => line.includes('cannot be read')) ?? '';
    await until('the refusal', () => problem() !== '');
    expect(problem()).toContain('in line 1 of');
    expect(isBot()).toBe(true);
    replace('# nothing any more\n');
    await until('the new rules', () => !isBot());
    const recovered = lines.filter((line) => line.includes('can be read again'));
    expect([problem(), ...recovered].map((line) => JSON.parse(line).level)).toEqual([50, 50]);
  });

  it('is logged with the reason while it is missing, and read again when it is back', async () => {
    const path = file('bot Acme Viewer\n');
    const { lines, logger } = memoryLogger();
    const agents = createAgentJudge();
    onTestFinished(followAgentRules(path, agents, logger, 5));
    rmSync(path);
    await until('the failure', () => lines.some((line) => line.includes('ENOENT')));
    expect(lines[0]).not.toContain('in line 1 of');
    expect(agents.judge('Acme Viewer').isBot).toBe(true);
    writeFileSync(path, 'person Acme Viewer\n');
    await until('the rules', () => !agents.judge('Acme Viewer').isBot);
  });
});

it('logs a CDN that hides user agents once in 30 s with the number of clicks, and its recovery', () => {
  const { lines, logger } = memoryLogger();
  const agents = createAgentJudge();
  const check = createHiddenAgentsCheck(agents, logger);
  agents.judge(CHROME);
  check();
  expect(lines).toEqual([]);
  for (let second = 0; second < 3; second += 1) {
    agents.judge('Amazon CloudFront');
    agents.judge('Amazon CloudFront');
    check();
  }
  expect(lines).toEqual([expect.stringContaining('"clicks":2')]);
  check();
  expect(lines).toHaveLength(1);
  agents.judge(CHROME);
  check();
  expect(lines[1]).toContain('forwards User-Agent headers again');
});
