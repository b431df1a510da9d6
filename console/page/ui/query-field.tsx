import { useEffect, useRef, useState } from 'preact/hooks';
import { query, setQuery } from '../router.ts';
import { TextField } from './form.tsx';

/** Wait after the last key before a list is searched, in ms. */
const TYPING_MS = 250;

type Props = {
  /** The parameter of the address. */
  readonly name: string;
  readonly label: string;
  readonly hint?: string;
  readonly type?: 'search' | 'date' | 'time';
  /** Shown while the address has no value. */
  readonly otherwise?: string;
};

/** A filter that is typed. It comes into the address after a pause, so that a list is not requested at each key. */
export function QueryField({ name, otherwise = '', type = 'search', ...props }: Props) {
  const wanted = query.value.get(name) || otherwise;
  const [text, setText] = useState(wanted);
  const sent = useRef(wanted);
  useEffect(() => {
    if (text === wanted) return;
    const timer = setTimeout(() => {
      sent.current = text;
      setQuery({ [name]: text });
    }, TYPING_MS);
    return () => clearTimeout(timer);
  }, [text]);
  // The address changes by itself too: the filters are cleared, or the browser goes back. What was sent from here does not overwrite a key
  // that was pressed since.
  useEffect(() => {
    if (wanted === sent.current) return;
    sent.current = wanted;
    setText(wanted);
  }, [wanted]);
  return <TextField {...props} type={type} value={text} onChange={setText} />;
}
