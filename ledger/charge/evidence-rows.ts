import { TollwayError } from '../../common/errors.ts';
import { type ClickEvent, REFERRER_HOST_MAX } from '../../contract/click-event.ts';
import { CopyRows, type RowsOfTable } from './copy-encoder.ts';
import type { UserAgentIds } from './user-agents.ts';

/** Longest text of a network, in characters. The ad server's are shorter; another producer can send any text. */
const NETWORK_MAX = 64;

/** Collects the rows of `click_evidence` of settled clicks. */
export class EvidenceRows {
  private readonly rows = new CopyRows(6);
  private readonly floorMs: number;
  private readonly userAgents: UserAgentIds;

  /** `floorMs`: evidence of clicks before it is not kept, in Unix ms. `userAgents`: the ids of the texts, which the table must have. */
  constructor(floorMs: number, userAgents: UserAgentIds) {
    this.floorMs = floorMs;
    this.userAgents = userAgents;
  }

  /**
   * Adds the row of a click, if it has evidence. `publishedAt`: when the click was published, in Unix ms. `ledger` begins its current row with
   * the click id. Throws `lost_race` if the id of its user agent is not given.
   */
  add(ledger: CopyRows, click: ClickEvent, publishedAt: number | undefined): void {
    const { clickedAt, visitorNetwork, userAgent, referrerHost, subIds = null } = click;
    if (clickedAt < this.floorMs) return;
    if (visitorNetwork === null && userAgent === null && referrerHost === null && subIds === null) return;
    const { rows } = this;
    rows.row();
    rows.uuidOf(ledger);
    if (userAgent === null) rows.null();
    else this.addUserAgent(userAgent);
    if (publishedAt === undefined) rows.null();
    else rows.timestamp(publishedAt);
    rows.text(visitorNetwork, NETWORK_MAX);
    rows.text(referrerHost, REFERRER_HOST_MAX);
    rows.jsonb(subIds);
  }

  private addUserAgent(text: string): void {
    const id = this.userAgents.get(text);
    if (id === undefined) {
      const message = 'Evidence is kept since the transaction began, and a user agent is not stored';
      throw new TollwayError('lost_race', message, { retryable: true });
    }
    this.rows.int8Halves(id.high, id.low);
  }

  /** The rows, and the `COPY` that inserts them. */
  ofTable(): RowsOfTable {
    const statement =
      'copy click_evidence (click_id, user_agent_id, published_at, network, referrer_host, sub_ids) from stdin (format binary)';
    return { rows: this.rows, statement };
  }
}
