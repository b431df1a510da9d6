import { texts } from '../texts.ts';
import { Menu } from './menu.tsx';

export type Action = {
  readonly label: string;
  readonly onClick: () => void;
  readonly isDangerous?: boolean;
};

/** The actions that are used less often; `false` among them is left out. Without any, it shows nothing. */
export function ActionsMenu({ actions }: { readonly actions: readonly (Action | false)[] }) {
  const shown = actions.filter((action) => action !== false);
  if (shown.length === 0) return null;
  return (
    <Menu label={`${texts.controls.actions} ▾`} isList>
      {shown.map(({ label, onClick, isDangerous = false }) => (
        <button key={label} type="button" class={isDangerous ? 'item danger' : 'item'} onClick={onClick}>
          {label}
        </button>
      ))}
    </Menu>
  );
}
