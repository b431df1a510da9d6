import { texts } from '../../texts.ts';
import { Button, CopyButton } from '../../ui/button.tsx';
import { Note } from '../../ui/state.tsx';

type Props = {
  readonly label: string;
  readonly lead: string;
  readonly secret: string;
  readonly onClose: () => void;
};

/** A secret that the API answers with once. */
export function SecretShown({ label, lead, secret, onClose }: Props) {
  return (
    <div class="stack">
      <Note tone="warn">{lead}</Note>
      <div class="row">
        <code class="break" title={label}>
          {secret}
        </code>
        <CopyButton text={secret} />
      </div>
      <div class="row end">
        <Button look="primary" onClick={onClose}>
          {texts.controls.close}
        </Button>
      </div>
    </div>
  );
}
