import { useEffect, useState } from 'preact/hooks';
import { ApiError, fieldError } from '../api.ts';
import { logIn, loginProblem, session } from '../session.ts';
import { texts } from '../texts.ts';
import { Form, TextField } from '../ui/form.tsx';
import { ErrorBox } from '../ui/state.tsx';
import { Brand } from './brand.tsx';
import { Waiting } from './waiting.tsx';

/** Where one logs in, once it is known that nobody is logged in. */
export function Login() {
  const [key, setKey] = useState('');
  const words = texts.login;
  useEffect(() => {
    document.title = `${words.title} · ${texts.product}`;
  }, [words.title]);
  if (session.value === undefined) return <Waiting />;
  const submit = () =>
    logIn({ key: key.trim() }).catch((error: Error) => {
      throw problemOf(error);
    });
  return (
    <main class="login">
      <div class="stack">
        <Brand />
        <section class="panel">
          <div class="body stack">
            <h1>{words.title}</h1>
            {loginProblem.value && key === '' && <ErrorBox error={loginProblem.value} />}
            <Form onSubmit={submit} submit={words.submit}>
              <TextField
                label={words.key}
                type="password"
                name="key"
                value={key}
                onChange={setKey}
                autoFocus
              />
            </Form>
            <div class="soft stack">
              <p>{words.lead}</p>
              <pre class="wraps">{words.command}</pre>
              <p>{words.link}</p>
              <pre>{words.linkCommand}</pre>
            </div>
          </div>
        </section>
      </div>
    </main>
  );
}

/** The API says only that nobody is logged in; a wrong key has words of its own. */
function problemOf(error: Error): Error {
  return error instanceof ApiError && error.status === 401 ? fieldError('key', texts.login.wrongKey) : error;
}
