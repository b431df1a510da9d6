import { segments } from '../router.ts';
import { can } from '../session.ts';
import { texts } from '../texts.ts';
import { views } from '../views.ts';
import { Icon, type IconName } from './icon.tsx';

/** Views that are reached from another one, by the name of that one. */
const PARENTS: Readonly<Record<string, string>> = { campaigns: 'advertisers', ads: 'advertisers' };

/** The links to the views, on the left; at the bottom of a phone. */
export function Navigation() {
  const [name = ''] = segments.value;
  const current = PARENTS[name] ?? name;
  const shown = views.filter((view) => view.isInNavigation() && (view.rule === undefined || can(view.rule)));
  return (
    <div class="side">
      <a class="brand" href="/">
        <Icon name="brand" />
        {texts.product}
      </a>
      <nav aria-label={texts.navigation.label}>
        {shown.map((view) => (
          <a key={view.name} href={`/${view.name}`} aria-current={view.name === current ? 'page' : undefined}>
            {/* Each view has an icon of its name. */}
            <Icon name={(view.name || 'live') as IconName} />
            {view.label}
          </a>
        ))}
        <a class="last" href="/reference" target="_blank" rel="noreferrer">
          <Icon name="reference" />
          {texts.navigation.reference}
        </a>
      </nav>
    </div>
  );
}
