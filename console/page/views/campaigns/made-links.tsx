import { formatCount } from '../../format.ts';
import { texts } from '../../texts.ts';
import { Button, CopyButton, LinkButton, saveText } from '../../ui/button.tsx';
import { QrCode, qrFile } from '../../ui/qr-code.tsx';
import { linksCsv, linksText, type MadeLinks } from './link-files.ts';

const words = texts.ads.links;

/** Links that are shown; a file has all. */
const SHOWN_MAX = 5;

/** The links that were made: one with its QR code, or the first of many with files of all. */
export function Made({ made }: { readonly made: MadeLinks }) {
  const { links } = made;
  const [first = ''] = links;
  return (
    <section class="made" aria-label={words.title}>
      {links.length === 1 ? <OneLink link={first} made={made} /> : <ManyLinks made={made} />}
    </section>
  );
}

function OneLink({ link, made }: { readonly link: string; readonly made: MadeLinks }) {
  const { adId, isEvergreen } = made;
  return (
    <>
      <h3>{words.madeOne}</h3>
      <div class="link-and-code">
        <div class="stack">
          <p class="mono break link">{link}</p>
          <div class="actions">
            <CopyButton text={link} />
            <LinkButton isSmall href={link} isOutside>
              {words.open}
            </LinkButton>
            <Button isSmall onClick={() => saveText(`tollway-ad-${adId}.svg`, 'image/svg+xml', qrFile(link))}>
              {words.saveQr}
            </Button>
          </div>
          <p class="soft">{isEvergreen ? words.openAboutEvergreen : words.openAbout}</p>
          {!isEvergreen && <p class="soft">{words.qrOnce}</p>}
        </div>
        <QrCode text={link} label={words.qr} />
      </div>
    </>
  );
}

function ManyLinks({ made }: { readonly made: MadeLinks }) {
  const { adId, links } = made;
  const shown = links.slice(0, SHOWN_MAX);
  const name = `tollway-ad-${adId}-links`;
  return (
    <>
      <div class="row">
        <h3>{words.made(formatCount(links.length))}</h3>
        <Button isSmall onClick={() => saveText(`${name}.csv`, 'text/csv', linksCsv(made))}>
          {words.saveCsv}
        </Button>
        <Button isSmall onClick={() => saveText(`${name}.txt`, 'text/plain', linksText(made))}>
          {words.saveText}
        </Button>
        <CopyButton text={linksText(made)} label={words.copyAll} />
      </div>
      {links.length > SHOWN_MAX && <p class="soft">{words.first(formatCount(SHOWN_MAX))}</p>}
      <ul class="links">
        {shown.map((link) => (
          <li key={link}>
            <span class="mono break">{link}</span>
            <LinkButton isSmall look="plain" href={link} isOutside>
              {words.open}
            </LinkButton>
          </li>
        ))}
      </ul>
    </>
  );
}
