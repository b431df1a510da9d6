import { can } from '../session.ts';
import { texts } from '../texts.ts';
import { Tabs } from '../ui/page.tsx';

const SECTIONS = ['advertisers', 'campaigns', 'ads'] as const;

/** The links between the lists of advertisers, campaigns and ads. */
export function Sections({ current }: { readonly current: (typeof SECTIONS)[number] }) {
  const { label, ...labels } = texts.advertisers.sections;
  const shown = SECTIONS.filter((one) => can(`${one}.read`));
  return (
    <Tabs
      label={label}
      tabs={shown.map((one) => ({ label: labels[one], href: `/${one}`, isCurrent: one === current }))}
    />
  );
}
