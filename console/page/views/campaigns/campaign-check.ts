import { fieldError } from '../../api.ts';
import { texts } from '../../texts.ts';
import type { CampaignBody } from './campaign-values.ts';

const { fields: words, pacings } = texts.campaigns;

/**
 * Checks what several fields of a campaign must have in common, to say it in the words of the form; the API checks it too. Throws
 * `ApiError`.
 */
export function checkCampaign({ startsAt, endsAt, pacing, dailyCap, hold, fallbackUrl }: CampaignBody): void {
  if (startsAt && endsAt && Date.parse(String(endsAt)) <= Date.parse(String(startsAt)))
    throw fieldError('endsAt', words.endBeforeStart);
  if (pacing !== 'none' && dailyCap === null)
    throw fieldError('dailyCap', words.pacingWithoutCap(pacing === 'even' ? pacings.even : pacings.rest));
  if (hold && fallbackUrl === null) throw fieldError('fallbackUrl', words.holdWithoutFallback);
}
