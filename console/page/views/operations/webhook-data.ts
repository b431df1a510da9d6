import type * as z from 'zod';
import type { Webhook } from '../../../api/routes/webhooks.ts';

/** A webhook as the API lists it. */
export type WebhookData = z.input<typeof Webhook>;
