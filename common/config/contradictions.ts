/** Problems of settings that are each valid but contradict each other. Skips settings that could not be parsed. */
export function contradictions(config: Readonly<Record<string, unknown>>): string[] {
  const problems: string[] = [];
  const mustNotExceed = (lower: string, upper: string, reason: string, share = 1) => {
    const most = Math.floor(Number(config[upper]) / share);
    if (Number(config[lower]) > most) {
      problems.push(
        `${lower}: expected at most ${upper}${share > 1 ? ` / ${share}` : ''} (${most}), got ${config[lower]}: ${reason}`,
      );
    }
  };
  const requires = (given: string, required: readonly string[]) => {
    const missing = required.filter((name) => config[name] === undefined);
    if (config[given] !== undefined && config[given] !== 'off' && missing.length > 0)
      problems.push(`${missing.join(', ')}: expected with ${given}, got nothing`);
  };
  requires('KAFKA_SASL', ['KAFKA_USERNAME', 'KAFKA_PASSWORD']);
  requires('KAFKA_TLS_CERT', ['KAFKA_TLS_KEY']);
  requires('KAFKA_TLS_KEY', ['KAFKA_TLS_CERT']);
  for (const name of ['KAFKA_TLS_CA', 'KAFKA_TLS_CERT', 'KAFKA_TLS_KEY'] as const) {
    if (config[name] !== undefined && config.KAFKA_TLS === 'off')
      problems.push(`${name}: expected with KAFKA_TLS=on`);
  }
  for (const name of ['KAFKA_USERNAME', 'KAFKA_PASSWORD'] as const) {
    if (config[name] !== undefined && config.KAFKA_SASL === 'off')
      problems.push(`${name}: expected with a KAFKA_SASL`);
  }
  mustNotExceed(
    'BROKER_RETENTION_DAYS',
    'CLICK_AGE_MAX_DAYS',
    'otherwise the broker can hold clicks that are too old to charge',
  );
  mustNotExceed(
    'CLICK_AGE_MAX_DAYS',
    'LEDGER_RETENTION_DAYS',
    'otherwise a click could be charged again after the ledger has deleted its row',
  );
  mustNotExceed(
    'EVIDENCE_RETENTION_DAYS',
    'LEDGER_RETENTION_DAYS',
    'evidence is found by the clicks of the ledger',
  );
  const workers = Number(config.AD_SERVER_WORKERS ?? 1);
  mustNotExceed('SPOOL_SEGMENT_BYTES', 'SPOOL_MAX_BYTES', 'each worker has a segment of its own', workers);
  return problems;
}
