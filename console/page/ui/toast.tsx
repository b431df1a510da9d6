import { signal } from '@preact/signals';

/** How long a message stays, in ms. */
const STAYS_MS = 5_000;

const messages = signal<readonly { readonly id: number; readonly text: string }[]>([]);
let lastId = 0;

/** Shows a short message for some seconds, and reads it to those who use a screen reader. */
export function notify(text: string): void {
  const id = ++lastId;
  messages.value = [...messages.value, { id, text }];
  setTimeout(() => {
    messages.value = messages.value.filter((message) => message.id !== id);
  }, STAYS_MS);
}

/** Where the messages of `notify` appear. */
export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {messages.value.map(({ id, text }) => (
        <div key={id} class="toast">
          {text}
        </div>
      ))}
    </div>
  );
}
