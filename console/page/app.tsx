import { useEffect } from 'preact/hooks';
import { listenLive } from './live.ts';
import { path, segments } from './router.ts';
import { can, session } from './session.ts';
import { AccountMenu } from './shell/account-menu.tsx';
import { ConnectionState } from './shell/connection-state.tsx';
import { Login } from './shell/login.tsx';
import { Navigation } from './shell/navigation.tsx';
import { texts } from './texts.ts';
import { LinkButton } from './ui/button.tsx';
import { Page } from './ui/page.tsx';
import { Empty } from './ui/state.tsx';
import { Toasts } from './ui/toast.tsx';
import { findView } from './views.ts';

/** The page: the login, or the frame with the view of the path. */
export function App() {
  const isLoggedIn = !!session.value;
  useEffect(() => (isLoggedIn ? listenLive() : undefined), [isLoggedIn]);
  if (session.value === undefined || session.value === null) return <Login />;
  return (
    <div class="shell">
      <a class="skip" href="#content">
        {texts.navigation.skip}
      </a>
      <Navigation />
      <header class="top">
        <ConnectionState />
        <AccountMenu />
      </header>
      <main id="content" tabIndex={-1}>
        <CurrentView />
      </main>
      <Toasts />
    </div>
  );
}

function CurrentView() {
  const view = findView(segments.value);
  if (!view) {
    const { title, lead, back } = texts.errors.notFound;
    return (
      <Page title={title}>
        <Empty title={lead} actions={<LinkButton href="/">{back}</LinkButton>} />
      </Page>
    );
  }
  if (view.rule !== undefined && !can(view.rule)) {
    return (
      <Page title={view.label}>
        <Empty title={texts.errors.forbidden} />
      </Page>
    );
  }
  const { Content } = view;
  // A view of another thing starts anew: nothing of what was entered stays.
  return <Content key={path.value} segments={segments.value.slice(1)} />;
}
