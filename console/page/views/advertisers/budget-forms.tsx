import { microsOf } from '../../amounts.ts';
import { type Attempts, fieldError, post } from '../../api.ts';
import type { Advertiser, BudgetEntry } from '../../entities.ts';
import { decimalsOf, formatAmount } from '../../format.ts';
import { texts } from '../../texts.ts';
import { Dialog } from '../../ui/dialog.tsx';
import { Form, TextField } from '../../ui/form.tsx';
import { notify } from '../../ui/toast.tsx';
import { useDraft } from '../../ui/use-draft.ts';

const words = texts.advertisers;

type Props = {
  readonly advertiser: Advertiser;
  readonly onDone: () => void;
  readonly onClose: () => void;
};

type Added = { readonly added: boolean; readonly entry: BudgetEntry };

/** Adds an amount to a budget, or corrects it. */
export function BudgetChange({
  kind,
  advertiser,
  onDone,
  onClose,
}: Props & { readonly kind: BudgetEntry['kind'] & ('top_up' | 'adjustment') }) {
  const { id, name, currency } = advertiser;
  const [values, set] = useDraft({ amount: '', reference: '' });
  const own = kind === 'top_up' ? words.topUp : words.adjust;
  const amount = values.amount.trim();
  const preview = kind === 'top_up' && amount.startsWith('-') ? null : previewOf(amount, advertiser);
  const submit = async (attempts: Attempts) => {
    const { reference } = values;
    const decimals = decimalsOf(currency);
    if (kind === 'top_up' && (amount.split('.')[1] ?? '').length > decimals)
      throw fieldError('amount', words.topUp.decimals(currency, decimals));
    const body = { kind, amount, ...(reference.trim() && { reference: reference.trim() }) };
    const { added, entry } = await post<Added>(`/v1/advertisers/${id}/budget-entries`, body, attempts);
    notify(added ? own.done(`${formatAmount(entry.amount, currency)} ${currency}`) : words.topUp.repeated);
    onClose();
    onDone();
  };
  return (
    <Dialog title={own.title(name)} onClose={onClose}>
      <Form onSubmit={submit} submit={own.submit} onCancel={onClose}>
        {kind === 'adjustment' && <p class="soft">{words.adjust.about}</p>}
        <TextField
          {...{ label: words.topUp.amount, name: 'amount', value: values.amount }}
          hint={preview === null ? own.amountHint : <strong>{preview}</strong>}
          onChange={(amount) => set({ amount })}
          unit={currency}
          inputMode={kind === 'top_up' ? 'decimal' : 'text'}
          autoFocus
        />
        <TextField
          {...{ label: words.topUp.reference, name: 'reference', hint: own.referenceHint }}
          value={values.reference}
          onChange={(reference) => set({ reference })}
          isOptional
        />
      </Form>
    </Dialog>
  );
}

/** What an amount will do to the budget, in words; `null` for a text that is no amount yet. */
function previewOf(amount: string, { name, currency }: Advertiser): string | null {
  if (!/^-?\d{1,10}(\.\d{1,6})?$/.test(amount) || microsOf(amount) === 0n) return null;
  const { preview } = amount.startsWith('-') ? words.adjust : words.topUp;
  return preview(`${formatAmount(amount.replace('-', ''), currency)} ${currency}`, name);
}
