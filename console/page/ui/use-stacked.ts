import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';

const phone = matchMedia('(max-width: 500px)');

/**
 * Decides whether a table shows the cells of a row below each other: if its columns do not fit into its box, and on a phone if `isOnPhone`.
 * It then stays so until the width of the box changes, whatever the rows have meanwhile: live rows must not make it change back and forth.
 * `isScrolling`: whether it is wider than its box all the same.
 */
export function useStacked(isOnPhone: boolean) {
  const box = useRef<HTMLElement>(null);
  const measuredWidth = useRef(0);
  const [shown, setShown] = useState({ isStacked: false, isScrolling: false });
  const latest = useRef(shown);
  const measure = () => {
    const table = box.current?.firstElementChild;
    if (!box.current || !table) return;
    const isResized = box.current.clientWidth !== measuredWidth.current;
    measuredWidth.current = box.current.clientWidth;
    const isWider = () => box.current !== null && box.current.scrollWidth > box.current.clientWidth;
    // Whether the columns fit is seen only without stacked rows.
    if (isResized) table.classList.remove('stacked');
    const wasStacked = latest.current.isStacked && !isResized;
    const isStacked = (isOnPhone && phone.matches) || wasStacked || isWider();
    table.classList.toggle('stacked', isStacked);
    const isScrolling = isStacked && isWider();
    if (isStacked !== latest.current.isStacked || isScrolling !== latest.current.isScrolling)
      setShown({ isStacked, isScrolling });
  };
  // Before the browser draws: new rows can be wider.
  useLayoutEffect(() => {
    latest.current = shown;
    measure();
  });
  useEffect(() => {
    const observer = new ResizeObserver(measure);
    if (box.current) observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  return { box, ...shown };
}
