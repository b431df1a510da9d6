import type { ComponentChildren } from 'preact';
import { formatCount } from '../format.ts';
import type { Pages } from '../resource.ts';
import { texts } from '../texts.ts';
import { Button } from './button.tsx';
import { ErrorBox, Skeleton } from './state.tsx';

export type Column<T> = {
  readonly label: string;
  readonly isNumber?: boolean;
  /** Left out on a phone. */
  readonly isMinor?: boolean;
  readonly cell: (row: T) => ComponentChildren;
  /** The content of the last line, such as a sum. */
  readonly foot?: ComponentChildren;
};

const classOf = ({ isNumber = false, isMinor = false }: { isNumber?: boolean; isMinor?: boolean }) =>
  `${isNumber ? 'number' : ''} ${isMinor ? 'minor' : ''}`;

type TableProps<T> = {
  /** What the table lists, for screen readers. */
  readonly label: string;
  readonly columns: readonly Column<T>[];
  readonly rows: readonly T[];
  readonly keyOf: (row: T, index: number) => string | number;
  /** Whether a phone shows the cells of a row below each other, each with the label of its column, so that none is out of sight. */
  readonly isStacked?: boolean;
};

/** A table. Wider than its box, it scrolls by itself. */
export function Table<T>({ label, columns, rows, keyOf, isStacked = false }: TableProps<T>) {
  const hasFoot = columns.some(({ foot }) => foot !== undefined);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: Without it, the keyboard cannot scroll a table that is wider than the screen.
    <section class="table-box" aria-label={label} tabIndex={0}>
      <table class={isStacked ? 'stacked' : ''}>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.label} scope="col" class={classOf(column)}>
                {column.label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={keyOf(row, index)}>
              {columns.map((column) => (
                <td key={column.label} class={classOf(column)} data-label={column.label}>
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
        {hasFoot && (
          <tfoot>
            <tr>
              {columns.map((column) => (
                <td key={column.label} class={classOf(column)} data-label={column.label}>
                  {column.foot}
                </td>
              ))}
            </tr>
          </tfoot>
        )}
      </table>
    </section>
  );
}

type ListProps<T> = Omit<TableProps<T>, 'rows'> & {
  readonly pages: Pages<T>;
  /** Shown instead of an empty table. */
  readonly empty: ComponentChildren;
};

/** A table of a list of the API, with a button for the next page. */
export function ListTable<T>({ pages, empty, ...table }: ListProps<T>) {
  const { items, error, more, reload } = pages;
  return (
    <>
      {error && <ErrorBox error={error} retry={reload} />}
      {items === null && !error && (
        <div class="body">
          <Skeleton lines={6} />
        </div>
      )}
      {items?.length === 0 && empty}
      {items !== null && items.length > 0 && (
        <>
          <Table {...table} rows={items} />
          <div class="table-foot">
            <span>{texts.controls.ofTotal(formatCount(items.length))}</span>
            {more && (
              <Button isSmall onClick={more}>
                {texts.controls.more}
              </Button>
            )}
          </div>
        </>
      )}
    </>
  );
}
