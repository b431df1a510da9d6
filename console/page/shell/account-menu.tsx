import { logOut, session } from '../session.ts';
import { texts } from '../texts.ts';
import { THEMES, theme } from '../theme.ts';
import { Button } from '../ui/button.tsx';
import { SelectField } from '../ui/form.tsx';
import { Menu } from '../ui/menu.tsx';
import { notify } from '../ui/toast.tsx';

/** Who is logged in, the colours, and the way out. */
export function AccountMenu() {
  if (!session.value) return null;
  const { name, role, advertiserIds, version } = session.value;
  const words = texts.session;
  return (
    <Menu label={name} name={`${words.menu}: ${name}`} class="button plain small">
      <div>
        <p class="strong break">{name}</p>
        <p class="soft">{words.role(role)}</p>
        <p class="soft">
          {advertiserIds === null ? words.unrestricted : words.restricted(advertiserIds.length)}
        </p>
      </div>
      <SelectField
        label={words.theme.label}
        value={theme.value}
        options={THEMES.map((value) => ({ value, label: words.theme[value] }))}
        onChange={(value) => {
          theme.value = value;
        }}
      />
      <Button onClick={() => void logOut().catch((error: Error) => notify(error.message))}>
        {words.logOut}
      </Button>
      <p class="soft">
        {texts.product} {version}
      </p>
    </Menu>
  );
}
