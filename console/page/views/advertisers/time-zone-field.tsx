import { texts } from '../../texts.ts';
import { Field } from '../../ui/form.tsx';

const words = texts.advertisers.create;
const ID = 'time-zones';

type Props = { readonly value: string; readonly onChange: (zone: string) => void };

/** A time zone, with the names that this browser knows as suggestions. */
export function TimeZoneField({ value, onChange }: Props) {
  return (
    <Field label={words.timeZone} name="timeZone" hint={words.timeZoneHint}>
      {(control) => (
        <>
          <input
            {...control}
            list={ID}
            value={value}
            autoComplete="off"
            spellcheck={false}
            onInput={(event) => onChange(event.currentTarget.value)}
          />
          <datalist id={ID}>
            {['UTC', ...Intl.supportedValuesOf('timeZone')].map((zone) => (
              <option key={zone} value={zone} />
            ))}
          </datalist>
        </>
      )}
    </Field>
  );
}
