import type { Advertiser } from '../entities.ts';
import { texts } from '../texts.ts';
import { type ChoiceProps, type Choices, Picker } from './picker.tsx';

export type AdvertiserChoice = Advertiser;

const CHOICES: Choices<AdvertiserChoice> = {
  path: '/v1/advertisers',
  nameOf: ({ id, name }) => `${name} (${id})`,
  words: texts.advertisers.picker,
};

/** Chooses an advertiser by a part of its name. */
export function AdvertiserPicker(props: ChoiceProps<AdvertiserChoice>) {
  return <Picker of={CHOICES} {...props} />;
}
