import { useResource } from '../../resource.ts';
import { query } from '../../router.ts';
import { texts } from '../../texts.ts';
import { Panel } from '../../ui/page.tsx';
import { QueryField } from '../../ui/query-field.tsx';
import { Empty, Loaded } from '../../ui/state.tsx';
import { type Column, Table } from '../../ui/table.tsx';
import type { OperationsData } from './parts-tab.tsx';

const words = texts.operations.settings;

type Setting = OperationsData['settings'][number];

const COLUMNS: readonly Column<Setting>[] = [
  { label: words.name, cell: ({ name }) => <code>{name}</code> },
  {
    label: words.value,
    cell: ({ value, isDefault }) => (
      <span class={`break ${isDefault ? 'soft' : 'strong'}`}>
        {value === null || value === '' ? words.unset : value}
      </span>
    ),
  },
  {
    label: words.from,
    cell: ({ isDefault }) => (isDefault ? <span class="soft">{words.default}</span> : words.given),
  },
];

const isFound = ({ name, value }: Setting, text: string): boolean =>
  `${name} ${value ?? ''}`.toLowerCase().includes(text.trim().toLowerCase());

/** The settings of the console that answers; those that were set come first. */
export function SettingsTab() {
  const text = query.value.get('search') ?? '';
  const operations = useResource<OperationsData>('/v1/operations');
  return (
    <Panel title={words.title} note={words.lead} flush>
      <div class="filters">
        <QueryField name="search" label={texts.controls.search} />
      </div>
      <Loaded resource={operations} lines={10}>
        {({ settings }) => {
          const found = settings.filter((setting) => isFound(setting, text));
          if (found.length === 0) return <Empty title={words.notFound} />;
          const rows = [...found].sort((one, other) => Number(one.isDefault) - Number(other.isDefault));
          return <Table label={words.title} columns={COLUMNS} rows={rows} keyOf={({ name }) => name} />;
        }}
      </Loaded>
    </Panel>
  );
}
