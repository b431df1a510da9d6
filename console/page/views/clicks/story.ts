import type * as z from 'zod';
import type { Click } from '../../../api/routes/clicks.ts';

/** What happened to a click, as the API tells it. */
export type Story = z.input<typeof Click>;
