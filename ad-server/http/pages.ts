/** The pages that a person may meet instead of a landing page. Whole, small, without anything from elsewhere. */

function page(title: string, text: string): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<style>
  body { margin: 0; min-height: 100vh; display: grid; place-content: center; font: 1.1rem/1.6 system-ui, sans-serif;
    color: #23303d; background: #f5f3ee; }
  main { max-width: 32rem; padding: 2rem; }
  h1 { font-size: 1.6rem; margin: 0 0 .5rem; }
  p { margin: 0; }
  @media (prefers-color-scheme: dark) { body { color: #e4e2dc; background: #1b2128; } }
</style>
<main>
<h1>${title}</h1>
<p>${text}</p>
</main>
</html>
`;
}

export const pages = {
  notFound: page(
    'This link leads nowhere',
    'It may have been cut off or changed on its way to you. Nothing was recorded. Try the page you found it on.',
  ),
  notYet: page(
    'This link is not ready yet',
    'It was made a moment ago, or we are just starting. Please try again in a minute.',
  ),
  notNow: page('Please try again in a moment', 'We cannot take this click right now. Nothing was recorded.'),
  wrongMethod: page('This is a link to follow', 'It can be opened, and nothing else can be done with it.'),
  badRequest: page(
    'This request cannot be read',
    'It is not one that a browser sends. Nothing was recorded.',
  ),
};
