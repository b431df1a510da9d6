import { texts } from '../texts.ts';
import { type AdvertiserChoice, AdvertiserPicker } from './advertiser-picker.tsx';
import { Button } from './button.tsx';

type Props = {
  readonly label: string;
  /** Shown while the next advertiser is typed. */
  readonly placeholder: string;
  readonly chosen: readonly AdvertiserChoice[];
  readonly onChange: (chosen: readonly AdvertiserChoice[]) => void;
  readonly name: string;
  /** As that of `AdvertiserPicker`. */
  readonly onUnknown: (text: string) => void;
};

/** Chooses any number of advertisers, one after the other. */
export function AdvertisersPicker({ chosen, onChange, ...props }: Props) {
  const without = (id: number) => chosen.filter((one) => one.id !== id);
  const add = (advertiser: AdvertiserChoice | null) => {
    if (advertiser !== null) onChange([...without(advertiser.id), advertiser]);
  };
  return (
    <>
      <AdvertiserPicker {...props} chosen={null} onChoose={add} />
      {chosen.length > 0 && (
        <div class="row">
          {chosen.map(({ id, name }) => (
            <Button key={id} isSmall onClick={() => onChange(without(id))}>
              {texts.controls.remove(`${name} (${id})`)}
            </Button>
          ))}
        </div>
      )}
    </>
  );
}
