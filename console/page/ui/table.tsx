import type { ComponentChildren } from 'preact';
import { formatCount } from '../format.ts';
import type { Pages } from '../resource.ts';
import { texts } from '../texts.ts';
import { Button } from './button.tsx';
import { ErrorBox, Skeleton } from './state.tsx';
import { useStacked } from './use-stacked.ts';

export type Column<T> = {
  readonly label: string;
  readonly isNumber?: boolean;
  /** Left out on a phone, unless the rows are stacked. */
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
  /** Whether a phone stacks the rows even if the columns fit. */
  readonly isStacked?: boolean;
};

/**
 * A table. If its columns do not fit into its box, it stacks its rows: the cells of a row stand below each other, each with the label of its column, so
 * that none is out of sight. What is wider even then, such as a long word, scrolls.
 */
export function Table<T>({ label, columns, rows, keyOf, isStacked: isOnPhone = false }: TableProps<T>) {
  const { box, isStacked, isScrolling } = useStacked(isOnPhone);
  const hasFoot = columns.some(({ foot }) => foot !== undefined);
  return (
    // The keyboard can scroll only what it can reach.
    <section ref={box} class="table-box" aria-label={label} tabIndex={isScrolling ? 0 : undefined}>
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
