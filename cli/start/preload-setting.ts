/** The variable that lists the files that a part loads while it waits for its settings; see preload-part.ts. */
export const PRELOADED = 'TOLLWAY_PRELOADED';
