import type { Ad } from '../entities.ts';
import { texts } from '../texts.ts';
import { type ChoiceProps, type Choices, Picker } from './picker.tsx';

/** What is known of an ad before it is loaded, or if the caller sees none of its id: the id. */
export type AdChoice = Pick<Ad, 'id' | 'name'> & Partial<Pick<Ad, 'advertiserName' | 'campaignName'>>;

type Props = ChoiceProps<AdChoice> & {
  /** Only ads of this advertiser; '' for all. */
  readonly advertiserId: string;
};

/** Chooses an ad by a part of its name, or by its id: an ad can be without a name. */
export function AdPicker({ advertiserId, ...props }: Props) {
  const choices: Choices<AdChoice> = {
    path: '/v1/ads',
    query: { advertiserId },
    nameOf: ({ id, name }) => texts.ads.name(id, name),
    about: ({ advertiserName, campaignName }) => `${advertiserName}, ${campaignName}`,
    idOf: (text) => {
      const digits = /^(?:ad )?(\d{1,9})$/i.exec(text)?.[1];
      return digits === undefined ? null : Number(digits);
    },
    words: texts.ads.picker,
  };
  return <Picker of={choices} {...props} />;
}
