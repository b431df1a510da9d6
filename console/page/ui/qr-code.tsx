import { encode } from 'uqr';

/** Modules of empty space around a code in a file: readers need it. https://www.qrcode.com/en/howto/code.html */
const QUIET_ZONE = 4;

/** A text as a QR code, dark on white in both themes, because scanners expect that. */
export function QrCode({ text, label }: { readonly text: string; readonly label: string }) {
  const { size, path } = drawCode(text);
  return (
    <div class="qr">
      <svg viewBox={`0 0 ${size} ${size}`} role="img" aria-label={label} shape-rendering="crispEdges">
        <path d={path} fill="#000" />
      </svg>
    </div>
  );
}

/** A text as a QR code in a file of the type SVG. */
export function qrFile(text: string): string {
  const { size, path } = drawCode(text);
  const all = size + 2 * QUIET_ZONE;
  const box = `${-QUIET_ZONE} ${-QUIET_ZONE} ${all} ${all}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${box}" shape-rendering="crispEdges"><rect x="${-QUIET_ZONE}" y="${-QUIET_ZONE}" width="${all}" height="${all}" fill="#fff"/><path d="${path}"/></svg>\n`;
}

function drawCode(text: string): { readonly size: number; readonly path: string } {
  const { data, size } = encode(text, { border: 0 });
  const path = data
    .flatMap((row, y) => row.map((isDark, x) => (isDark ? `M${x} ${y}h1v1h-1z` : '')))
    .join('');
  return { size, path };
}
