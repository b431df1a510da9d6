import { useState } from 'preact/hooks';
import { fieldError } from '../../api.ts';
import { go } from '../../router.ts';
import { texts } from '../../texts.ts';
import { Form, TextField } from '../../ui/form.tsx';
import { Page, Panel } from '../../ui/page.tsx';
import type { ViewProps } from '../view-props.ts';
import { ClickList } from './click-list.tsx';
import { ClickStory } from './click-story.tsx';

const words = texts.clicks;

/** Looks for a click, and shows what happened to it. */
export function ClicksView({ segments: [reference] }: ViewProps) {
  const [text, setText] = useState(reference ?? '');
  const find = async () => {
    const wanted = referenceOf(text);
    if (wanted === '') throw fieldError('reference', texts.advertisers.credit.missing);
    go(`/clicks/${encodeURIComponent(wanted)}`);
  };
  return (
    <Page
      title={reference === undefined ? words.title : words.oneTitle}
      lead={reference === undefined ? words.lead : words.storyLead}
      crumbs={reference === undefined ? [] : [{ label: words.title, href: '/clicks' }]}
    >
      <div class="stack">
        <Panel>
          <Form isRow onSubmit={find} submit={words.find}>
            <TextField
              label={words.reference}
              name="reference"
              hint={words.hint}
              type="search"
              value={text}
              onChange={setText}
              autoFocus={reference === undefined}
            />
          </Form>
        </Panel>
        {reference !== undefined ? <ClickStory reference={reference} /> : <ClickList />}
      </div>
    </Page>
  );
}

/** What the API takes: an id, a nonce, or what follows `/c/` in a link. */
export function referenceOf(text: string): string {
  const trimmed = text.trim();
  return /\/c\/([^/?#]+)/.exec(trimmed)?.[1] ?? trimmed;
}
