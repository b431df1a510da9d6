/** Paths on a grid of 16, drawn as lines. */
const PATHS = {
  brand: 'M2.5 3.5h11M8 3.5v9.5M5.5 13h5',
  live: 'M1.5 8.5h3l2-5 3 9 2-4h3',
  advertisers:
    'M2 13.5v-1a3 3 0 0 1 3-3h2a3 3 0 0 1 3 3v1M6 7a2.25 2.25 0 1 0 0-4.5A2.25 2.25 0 0 0 6 7M11 9.5a3 3 0 0 1 3 3v1M10 2.7a2.25 2.25 0 0 1 0 4.1',
  reports: 'M2.5 13.5v-5M6.2 13.5v-9M9.8 13.5v-6.5M13.5 13.5v-11',
  statements: 'M4 1.5h6l3 3v10H4zM6.5 7h4M6.5 9.5h4M6.5 12h2.5',
  clicks: 'M6 6l7 2.7-3 1.3-1.3 3zM4 2v1.6M2 4h1.6M6.6 2.6 5.4 3.8M2.6 6.6l1.2-1.2',
  operations:
    'M2 4.5h7M12 4.5h2M2 11.5h2M7 11.5h7M10.5 6.2a1.7 1.7 0 1 0 0-3.4 1.7 1.7 0 0 0 0 3.4M5.5 13.2a1.7 1.7 0 1 0 0-3.4 1.7 1.7 0 0 0 0 3.4',
  try: 'M4.5 2.8v10.4L13 8z',
  reference: 'M5.5 4.5 2 8l3.5 3.5M10.5 4.5 14 8l-3.5 3.5',
} as const;

export type IconName = keyof typeof PATHS;

/** A picture beside a label; screen readers skip it. */
export function Icon({ name }: { readonly name: IconName }) {
  return (
    <svg
      width="16"
      height="16"
      viewBox="0 0 16 16"
      aria-hidden="true"
      fill="none"
      stroke="currentColor"
      stroke-width="1.4"
      stroke-linecap="round"
      stroke-linejoin="round"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
