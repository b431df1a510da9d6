import { type Attempts, post } from '../../api.ts';
import type { Advertiser, BudgetEntry } from '../../entities.ts';
import { formatAmount } from '../../format.ts';
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
  const submit = async (attempts: Attempts) => {
    const { amount, reference } = values;
    const body = { kind, amount: amount.trim(), ...(reference.trim() && { reference: reference.trim() }) };
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
          {...{ label: words.topUp.amount, name: 'amount', hint: own.amountHint, value: values.amount }}
          onChange={(amount) => set({ amount })}
          unit={currency}
          inputMode={kind === 'top_up' ? 'decimal' : 'text'}
          autoFocus
        />
        <TextField
          {...{ label: words.topUp.reference, name: 'reference', hint: words.topUp.referenceHint }}
          value={values.reference}
          onChange={(reference) => set({ reference })}
          isOptional
        />
      </Form>
    </Dialog>
  );
}
