import { formatCount } from '../../format.ts';
import { books } from '../../live.ts';
import { texts } from '../../texts.ts';
import { Note } from '../../ui/state.tsx';
import { Ago } from '../../ui/values.tsx';
import { booksTitle } from '../books-title.ts';

/** Whether the books balance, and when that was checked. */
export function BooksPanel() {
  const words = texts.live.books;
  const checked = books.value;
  if (checked === null) return <Note>{words.waiting}</Note>;
  const count = (clicks: number | null) => (clicks === null ? words.unknown : formatCount(clicks));
  const { balanced, problemCount, problems, missing, inFlight, checkedAt } = checked;
  return (
    <Note tone={balanced && !missing ? 'good' : 'bad'}>
      <p class="strong">{booksTitle(balanced, missing, problemCount)}</p>
      <p class="soft">
        {words.checked} <Ago at={checkedAt} />, {words.missing(count(missing))},{' '}
        {words.inFlight(count(inFlight))}
      </p>
      {problems.map((problem) => (
        <p key={problem}>{problem}</p>
      ))}
    </Note>
  );
}
