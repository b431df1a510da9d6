import type { Ad, Advertiser, Campaign } from '../../entities.ts';
import { can, type Rule } from '../../session.ts';
import { texts } from '../../texts.ts';
import { Button, LinkButton } from '../../ui/button.tsx';
import { Panel } from '../../ui/page.tsx';
import type { AdvertiserDialog } from './advertiser-dialogs.tsx';
import { nextSteps, type Step } from './steps.ts';

const words = texts.advertisers.steps;

type Props = {
  readonly advertiser: Advertiser;
  readonly campaigns: readonly Campaign[] | null;
  readonly firstAd: Ad | null;
  readonly isLoading: boolean;
  readonly open: (dialog: AdvertiserDialog) => void;
};

/** Leads from a new advertiser to the first charged click. Shows nothing once a click was charged. */
export function NextSteps({ advertiser, campaigns, firstAd, isLoading, open }: Props) {
  if (isLoading || campaigns === null || advertiser.status === 'archived') return null;
  const steps = nextSteps(advertiser, campaigns, firstAd ? [firstAd] : []);
  if (steps.every(({ isDone }) => isDone)) return null;
  const next = steps.find(({ isDone }) => !isDone)?.step;
  const campaign = campaigns[0];
  return (
    <Panel title={words.title}>
      <ol class="steps">
        {steps.map(({ step, isDone }) => (
          <li key={step} class={isDone ? 'done' : step === next ? 'next' : ''}>
            <div>
              <p class="strong">{words[step].title}</p>
              <p class="soft">{words[step].lead}</p>
            </div>
            {isDone ? (
              <span class="tag good">{words.done}</span>
            ) : (
              <StepAction {...{ step, open, campaign, firstAd }} isNext={step === next} />
            )}
          </li>
        ))}
      </ol>
    </Panel>
  );
}

const RULES: Readonly<Record<Step, Rule>> = {
  top_up: 'budgets.write',
  campaign: 'campaigns.write',
  ad: 'ads.write',
  link: 'links.create',
};

type ActionProps = {
  readonly step: Step;
  readonly isNext: boolean;
  readonly campaign: Campaign | undefined;
  readonly firstAd: Ad | null;
  readonly open: Props['open'];
};

function StepAction({ step, isNext, campaign, firstAd, open }: ActionProps) {
  const { action, needs } = words[step];
  if (!can(RULES[step])) return <span class="soft">{needs}</span>;
  const look = isNext ? 'primary' : undefined;
  if (step === 'top_up' || step === 'campaign')
    return (
      <Button {...(look && { look })} onClick={() => open(step)}>
        {action}
      </Button>
    );
  const href = step === 'ad' ? campaign && `/campaigns/${campaign.id}?new` : firstAd && `/ads/${firstAd.id}`;
  // It becomes possible with the step before.
  if (!href) return null;
  return (
    <LinkButton {...(look && { look })} href={href}>
      {action}
    </LinkButton>
  );
}
