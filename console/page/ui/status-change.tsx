import { type Answer, patch } from '../api.ts';
import { useSnapshot } from '../resource.ts';
import { texts } from '../texts.ts';
import { Confirm } from './dialog.tsx';
import { notify } from './toast.tsx';

export type StatusTarget = 'active' | 'paused' | 'archived';

type Props<T> = {
  readonly kind: keyof typeof texts.statusChange;
  /** What it is called, such as the name of the campaign. */
  readonly name: string;
  readonly path: string;
  readonly opened: Answer<T>;
  readonly status: StatusTarget;
  readonly onDone: () => void;
  readonly onClose: () => void;
};

/** Asks before an advertiser, a campaign or an ad is paused, resumed or archived. */
export function StatusChange<T>({ kind, name, path, opened, status, onDone, onClose }: Props<T>) {
  const { etag, readAgain } = useSnapshot<T>(path, opened);
  const words = texts.statusChange[kind][status];
  const change = async () => {
    await patch(path, { status }, etag);
    notify(words.done(name));
    onDone();
  };
  return (
    <Confirm
      title={words.title(name)}
      action={words.action}
      isDangerous={status === 'archived'}
      {...{ onConfirm: change, readAgain, onClose }}
    >
      {words.about}
    </Confirm>
  );
}

/** The changes of the status that make sense from the present one. */
export function statusTargets(status: StatusTarget): readonly StatusTarget[] {
  if (status === 'active') return ['paused', 'archived'];
  return status === 'paused' ? ['active', 'archived'] : ['active'];
}
