import type { Connection, Pool } from '../../common/postgres/postgres.ts';

/** What the ad server recorded about the visitor of a click. */
export type Evidence = {
  /** The visitor's network: /24 for IPv4, /48 for IPv6. */
  readonly network: string | null;
  readonly userAgent: string | null;
  readonly referrerHost: string | null;
  /** `sub1`…`sub5` of the link's query. */
  readonly subIds: Readonly<Record<string, string>> | null;
};

/** What is stored with the evidence of a click. */
export type StoredEvidence = Evidence & {
  /** When the record that was settled was published to the broker; `null` if the broker did not tell it. */
  readonly publishedAt: Date | null;
};

/**
 * Reads the evidence of a click. `null`: the ledger does not have the click, the click had no evidence, or its evidence was erased or is
 * past `EVIDENCE_RETENTION_DAYS`.
 */
export async function readEvidence(
  database: Pool | Connection,
  clickId: string,
): Promise<StoredEvidence | null> {
  const { rows } = await database.query<StoredEvidence>(
    `select network, user_agent.text as "userAgent", referrer_host as "referrerHost", sub_ids as "subIds", published_at as "publishedAt"
     from click_evidence left join user_agent on user_agent.id = user_agent_id where click_id = $1`,
    [clickId],
  );
  return rows[0] ?? null;
}
