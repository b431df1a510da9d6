import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { texts } from '../texts.ts';

export type Crumb = { readonly label: string; readonly href: string };

type PageProps = {
  readonly title: string;
  /** Beside the title, such as a status. */
  readonly tags?: ComponentChildren;
  /** One line under the title. */
  readonly lead?: ComponentChildren;
  /** The way to the view from above, without the view itself. */
  readonly crumbs?: readonly Crumb[];
  readonly actions?: ComponentChildren;
  readonly children: ComponentChildren;
};

/** A view: its heading, its actions, and its content. Sets the title of the window. */
export function Page({ title, tags, lead, crumbs = [], actions, children }: PageProps) {
  useEffect(() => {
    document.title = `${title} · ${texts.product}`;
  }, [title]);
  return (
    <>
      <div class="page-head">
        <div>
          {crumbs.length > 0 && (
            <nav class="crumbs" aria-label="Breadcrumb">
              {crumbs.map(({ label, href }, index) => (
                <>
                  {index > 0 && ' / '}
                  <a href={href}>{label}</a>
                </>
              ))}
            </nav>
          )}
          <div class="row">
            <h1 class="break">{title}</h1>
            {tags}
          </div>
          {lead !== undefined && <p class="soft">{lead}</p>}
        </div>
        {actions !== undefined && <div class="actions">{actions}</div>}
      </div>
      {children}
    </>
  );
}

type PanelProps = {
  /** Without one, the view says what the panel shows. */
  readonly title?: string;
  readonly note?: ComponentChildren;
  readonly actions?: ComponentChildren;
  /** Columns of the grid of 12 that it takes on a wide screen. */
  readonly span?: 3 | 4 | 5 | 6 | 7 | 8 | 9;
  /** Without a margin, for tables. */
  readonly flush?: boolean;
  readonly children: ComponentChildren;
};

/** A box with a heading. */
export function Panel({ title, note, actions, span, flush = false, children }: PanelProps) {
  return (
    <section class={`panel ${span ? `span-${span}` : ''}`}>
      {title !== undefined && (
        <header>
          <h2>{title}</h2>
          {note !== undefined && <span class="note">{note}</span>}
          {actions !== undefined && <div class="actions">{actions}</div>}
        </header>
      )}
      <div class={flush ? 'body flush' : 'body'}>{children}</div>
    </section>
  );
}

export type Tab = { readonly label: string; readonly href: string; readonly isCurrent: boolean };

/** Links to the parts of a view. */
export function Tabs({ label, tabs }: { readonly label: string; readonly tabs: readonly Tab[] }) {
  const element = useRef<HTMLElement>(null);
  const current = tabs.find(({ isCurrent }) => isCurrent)?.href;
  // On a phone, the tabs can be wider than the screen.
  useEffect(() => {
    element.current?.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }, [current]);
  return (
    <nav ref={element} class="tabs" aria-label={label}>
      {tabs.map((tab) => (
        <a key={tab.href} href={tab.href} aria-current={tab.isCurrent ? 'page' : undefined}>
          {tab.label}
        </a>
      ))}
    </nav>
  );
}
