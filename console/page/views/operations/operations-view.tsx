import type { FunctionComponent } from 'preact';
import { can, isUnrestricted, type Rule } from '../../session.ts';
import { texts } from '../../texts.ts';
import { Page, Tabs } from '../../ui/page.tsx';
import { Empty } from '../../ui/state.tsx';
import type { ViewProps } from '../view-props.ts';
import { AuditTab } from './audit-tab.tsx';
import { DeadLettersTab } from './dead-letters-tab.tsx';
import { KeysTab } from './keys-tab.tsx';
import { PartsTab } from './parts-tab.tsx';
import { ReconciliationTab } from './reconciliation-tab.tsx';
import { SettingsTab } from './settings-tab.tsx';
import { WebhooksTab } from './webhooks-tab.tsx';

const { tabs: labels, title, lead } = texts.operations;

type OperationsTab = {
  readonly name: string;
  readonly label: string;
  readonly rule: Rule;
  /** Whether a caller who is restricted to advertisers may see it. */
  readonly isForRestricted: boolean;
  readonly Content: FunctionComponent<{ readonly id: string | undefined }>;
};

const TABS: readonly OperationsTab[] = [
  { name: 'parts', label: labels.parts, rule: 'status.read', isForRestricted: false, Content: PartsTab },
  {
    ...{ name: 'reconciliation', label: labels.reconciliation, rule: 'reconciliation.read' },
    ...{ isForRestricted: false, Content: ReconciliationTab },
  },
  {
    ...{ name: 'dead-letters', label: labels.deadLetters, rule: 'dead-letters.read' },
    ...{ isForRestricted: false, Content: DeadLettersTab },
  },
  {
    name: 'webhooks',
    label: labels.webhooks,
    rule: 'webhooks.manage',
    isForRestricted: true,
    Content: WebhooksTab,
  },
  { name: 'keys', label: labels.keys, rule: 'keys.manage', isForRestricted: false, Content: KeysTab },
  { name: 'audit', label: labels.audit, rule: 'audit.read', isForRestricted: true, Content: AuditTab },
  {
    name: 'settings',
    label: labels.settings,
    rule: 'status.read',
    isForRestricted: false,
    Content: SettingsTab,
  },
];

/** What an operator does: a tab for each thing. `/operations/webhooks/3` is the webhook 3. */
export function OperationsView({ segments: [name, id] }: ViewProps) {
  const seen = TABS.filter((tab) => can(tab.rule) && (tab.isForRestricted || isUnrestricted.value));
  const current = name === undefined ? seen[0] : seen.find((tab) => tab.name === name);
  return (
    <Page title={title} lead={lead}>
      <Tabs
        label={labels.label}
        tabs={seen.map((tab) => ({
          label: tab.label,
          href: `/operations/${tab.name}`,
          isCurrent: tab === current,
        }))}
      />
      {current ? <current.Content id={id} /> : <Empty title={texts.errors.forbidden} />}
    </Page>
  );
}
