// Receives webhooks of Tollway, with the package `standardwebhooks`. Each event is handled once, in the order in which it came.
//
//     WEBHOOK_SECRET=whsec_... node examples/verify_webhook.mjs PORT
import { createServer } from 'node:http';
import { Webhook } from 'standardwebhooks';

const webhook = new Webhook(process.env.WEBHOOK_SECRET);
// An event can come more than once: keep the ids that were handled, here in memory, otherwise in the transaction of the work.
const handled = new Set();

function handle({ type, data }) {
  console.log(type, JSON.stringify(data));
}

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  let event;
  try {
    // The bytes that were received: JSON that was parsed and written again has other bytes, and another signature.
    event = webhook.verify(Buffer.concat(chunks), request.headers);
  } catch {
    response.writeHead(401).end();
    return;
  }
  const id = request.headers['webhook-id'];
  if (!handled.has(id)) handle(event);
  handled.add(id);
  response.writeHead(204).end();
});
server.listen(Number(process.argv[2]), () => console.log('listening'));
