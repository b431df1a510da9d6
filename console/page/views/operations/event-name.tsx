import { texts } from '../../texts.ts';

const { types, testEvent } = texts.operations.webhooks;
const NAMES: Readonly<Record<string, string>> = { ...types, 'webhook.test': testEvent };

/** What has happened; a type that is new to the page is shown as it is. */
export const nameOfEvent = (type: string): string => NAMES[type] ?? type;

/** What has happened, and the type by which programs know it. */
export function EventName({ type }: { readonly type: string }) {
  return (
    <>
      {nameOfEvent(type)}
      {type in NAMES && <span class="sub mono">{type}</span>}
    </>
  );
}
