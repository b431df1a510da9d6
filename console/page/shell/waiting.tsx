import { DATABASE_AWAY, UNREACHABLE } from '../api.ts';
import { formatDuration, formatTime } from '../format.ts';
import { outage } from '../session.ts';
import { texts } from '../texts.ts';
import { clock } from '../ui/clock.ts';
import { Brand } from './brand.tsx';

const words = texts.login.waiting;

/** Shown until it is known who is logged in: nothing at first, then what does not answer and what that means for clicks. */
export function Waiting() {
  if (outage.value === null) return <main class="login" />;
  const { error, since } = outage.value;
  const own = { [UNREACHABLE]: words.console, [DATABASE_AWAY]: words.database }[error.code];
  return (
    <main class="login">
      <div class="stack">
        <Brand />
        <section class="panel" role="alert">
          <div class="body stack">
            <h1>{own?.title ?? words.other}</h1>
            <p>{own?.clicks ?? error.message}</p>
            {own && (
              <p class="soft">
                {words.runbook} <code>{own.runbook}</code>
              </p>
            )}
          </div>
        </section>
        <p class="soft">
          {words.since(formatTime(new Date(since).toISOString()), formatDuration(ageOf(since)))}
        </p>
      </div>
    </main>
  );
}

/** Seconds since a time of this browser. */
const ageOf = (since: number): number => Math.max(0, Math.floor((clock.value - since) / 1_000));
