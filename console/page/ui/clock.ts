import { signal } from '@preact/signals';

/** The time of this browser, in ms, once a second. Ages are shown by it. */
export const clock = signal(Date.now());

setInterval(() => {
  clock.value = Date.now();
}, 1_000);
