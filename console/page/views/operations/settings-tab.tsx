import { useResource } from '../../resource.ts';
import { texts } from '../../texts.ts';
import { Panel } from '../../ui/page.tsx';
import { Loaded } from '../../ui/state.tsx';
import { type Column, Table } from '../../ui/table.tsx';
import type { OperationsData } from './parts-tab.tsx';

const words = texts.operations.settings;

const COLUMNS: readonly Column<OperationsData['settings'][number]>[] = [
  { label: words.name, cell: ({ name }) => <code>{name}</code> },
  {
    label: words.value,
    cell: ({ value, isDefault }) => (
      <span class={`break ${isDefault ? 'soft' : 'strong'}`}>
        {value === null || value === '' ? '–' : value}
      </span>
    ),
  },
  {
    label: words.from,
    cell: ({ isDefault }) => (isDefault ? <span class="soft">{words.default}</span> : words.given),
  },
];

/** The settings of the console that answers. */
export function SettingsTab() {
  const operations = useResource<OperationsData>('/v1/operations');
  return (
    <Panel title={words.title} note={words.lead} flush>
      <Loaded resource={operations} lines={10}>
        {({ settings }) => (
          <Table label={words.title} columns={COLUMNS} rows={settings} keyOf={({ name }) => name} />
        )}
      </Loaded>
    </Panel>
  );
}
