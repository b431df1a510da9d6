import { useState } from 'preact/hooks';
import type * as z from 'zod';
import type { ApiKey, CreatedApiKey } from '../../../api/routes/keys.ts';
import { type Attempts, fieldError, post, request } from '../../api.ts';
import { useNames } from '../../names.ts';
import { usePages } from '../../resource.ts';
import { texts } from '../../texts.ts';
import type { AdvertiserChoice } from '../../ui/advertiser-picker.tsx';
import { AdvertisersPicker } from '../../ui/advertisers-picker.tsx';
import { Button } from '../../ui/button.tsx';
import { Confirm, Dialog, useDialog } from '../../ui/dialog.tsx';
import { Form, SelectField, TextField } from '../../ui/form.tsx';
import { Panel } from '../../ui/page.tsx';
import { Empty } from '../../ui/state.tsx';
import { type Column, ListTable } from '../../ui/table.tsx';
import { notify } from '../../ui/toast.tsx';
import { Ago, Time } from '../../ui/values.tsx';
import { SecretShown } from './secret-shown.tsx';

type Key = z.input<typeof ApiKey>;

const words = texts.operations.keys;
const ROLES = ['viewer', 'manager', 'finance', 'admin'] as const;
const TONES: Readonly<Record<string, string>> = { active: 'good', expired: 'warn', revoked: '' };

/** The API keys: who has them, new ones, and those that are taken back. */
export function KeysTab() {
  const keys = usePages<Key>('/v1/keys');
  const dialog = useDialog();
  const [revoked, setRevoked] = useState<Key | null>(null);
  const names = useNames({
    advertisers: (keys.items ?? []).flatMap(({ advertiserIds }) => advertiserIds ?? []),
  });
  const columns: Column<Key>[] = [
    { label: words.name, cell: ({ name }) => <span class="break">{name}</span> },
    { label: words.role, cell: ({ role }) => role },
    {
      label: words.advertisers,
      isMinor: true,
      cell: ({ advertiserIds }) => advertiserIds?.map(names.advertiser).join(', ') ?? words.all,
    },
    {
      label: words.status,
      cell: ({ status }) => <span class={`tag ${TONES[status]}`}>{words.statuses[status] ?? status}</span>,
    },
    {
      label: words.used,
      isMinor: true,
      cell: ({ lastUsedAt }) => (lastUsedAt === null ? words.never : <Ago at={lastUsedAt} />),
    },
    {
      label: words.expires,
      isMinor: true,
      cell: ({ expiresAt }) => (expiresAt === null ? words.never : <Time at={expiresAt} />),
    },
    {
      label: '',
      isNumber: true,
      cell: (key) =>
        key.status === 'active' && (
          <Button isSmall onClick={() => setRevoked(key)}>
            {words.revoke}
          </Button>
        ),
    },
  ];
  return (
    <Panel
      title={words.title}
      note={words.lead}
      flush
      actions={
        <Button look="primary" isSmall onClick={dialog.open}>
          {words.create}
        </Button>
      }
    >
      <ListTable
        label={words.title}
        columns={columns}
        pages={keys}
        keyOf={({ id }) => id}
        empty={<Empty title={words.empty}>{words.emptyLead}</Empty>}
      />
      {dialog.isOpen && <NewKey onClose={dialog.close} onDone={keys.reload} />}
      {revoked && <Revoke apiKey={revoked} onClose={() => setRevoked(null)} onDone={keys.reload} />}
    </Panel>
  );
}

type DialogProps = { readonly onClose: () => void; readonly onDone: () => void };

function Revoke({ apiKey: { id, name }, onClose, onDone }: DialogProps & { readonly apiKey: Key }) {
  const revoke = async () => {
    await request('DELETE', `/v1/keys/${id}`);
    notify(words.revoked);
    onDone();
  };
  return (
    <Confirm
      title={words.revokeTitle(name)}
      action={words.revoke}
      onConfirm={revoke}
      onClose={onClose}
      isDangerous
    >
      <p>{words.revokeLead}</p>
    </Confirm>
  );
}

function NewKey({ onClose, onDone }: DialogProps) {
  const [name, setName] = useState('');
  const [role, setRole] = useState<(typeof ROLES)[number]>('viewer');
  const [advertisers, setAdvertisers] = useState<readonly AdvertiserChoice[]>([]);
  const [unknown, setUnknown] = useState('');
  const [made, setMade] = useState<z.input<typeof CreatedApiKey> | null>(null);
  const create = async (attempts: Attempts) => {
    // Otherwise the key would not be restricted.
    if (unknown !== '') throw fieldError('advertiserIds', texts.errors.unknownAdvertiser(unknown));
    const ids = advertisers.map(({ id }) => id);
    const body = { name, role, advertiserIds: ids.length > 0 ? ids : null };
    setMade(await post<z.input<typeof CreatedApiKey>>('/v1/keys', body, attempts));
    onDone();
  };
  return (
    <Dialog title={words.create} onClose={onClose}>
      {made ? (
        <SecretShown label={words.created} lead={words.createdLead} secret={made.key} onClose={onClose} />
      ) : (
        <Form onSubmit={create} submit={words.create} onCancel={onClose}>
          <TextField label={words.name} name="name" value={name} onChange={setName} autoFocus />
          <SelectField
            label={words.role}
            name="role"
            hint={words.roleHint}
            value={role}
            options={ROLES.map((value) => ({ value, label: value }))}
            onChange={setRole}
          />
          <AdvertisersPicker
            label={words.advertisers}
            placeholder={words.advertisersHint}
            name="advertiserIds"
            chosen={advertisers}
            onChange={setAdvertisers}
            onUnknown={setUnknown}
          />
        </Form>
      )}
    </Dialog>
  );
}
