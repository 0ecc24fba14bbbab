// Who is let in, as the packages for Node tell it, the browser's way of authentication included:
//   node keys.mjs URL KEY   prints JSON

import OpenAI from 'openai';
import { OpenAIRealtimeWebSocket } from 'openai/realtime/websocket';
import { RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';
import { OpenAIRealtimeWebSocket as AgentTransport } from '@openai/agents-realtime';
import { WebSocket } from 'ws';

const [url, key] = process.argv.slice(2);

// A browser's WebSocket knows addresses and subprotocols, and no headers. The package speaks TLS only, which a proxy
// in front of the server would: here it is left out.
globalThis.WebSocket = class extends WebSocket {
  constructor(address, protocols) {
    super(String(address).replace('wss:', 'ws:'), protocols);
  }
};

/** How a session that this key opens begins, or why it is refused. */
const instructions = (apiKey) =>
  new Promise((resolve) => {
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey });
    const rt = new OpenAIRealtimeWebSocket({ model: 'smol-omni' }, client);
    rt.on('session.created', ({ session }) => {
      resolve(session.instructions);
      rt.close();
    });
    rt.on('error', (error) => resolve(error.message));
  });

/** What an agent says that connects with this key. `createWebSocket` makes the transport a browser's. */
async function agentAsks(apiKey, asBrowser) {
  const address = `${url.replace('http', 'ws')}/v1/realtime`;
  const protocols = ['realtime', `openai-insecure-api-key.${apiKey}`];
  const createWebSocket = async () => new WebSocket(address, protocols);
  const transport = asBrowser
    ? new AgentTransport({ url: address, useInsecureApiKey: true, createWebSocket })
    : new AgentTransport({ url: address });
  const session = new RealtimeSession(new RealtimeAgent({ name: 'Assistant' }), { transport });
  const refused = new Promise((resolve) => session.on('error', ({ error }) => resolve(error.message)));
  const answered = new Promise((resolve) => session.on('agent_end', () => resolve('answered')));
  try {
    await session.connect({ apiKey });
    session.sendMessage('Hello.');
    return await Promise.race([answered, refused]);
  } catch (error) {
    return error.message;
  } finally {
    session.close();
  }
}

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key });
const secret = (
  await client.realtime.clientSecrets.create({ session: { type: 'realtime', instructions: 'Speak like a pirate.' } })
).value;
console.log(
  JSON.stringify({
    'key as a subprotocol': await instructions(key),
    'secret as a subprotocol': await instructions(secret),
    'wrong key as a subprotocol': await instructions('wrong'),
    'agent with the secret': await agentAsks(secret, false),
    'agent in a browser': await agentAsks(key, true),
    'agent with a wrong key': await agentAsks('wrong', false),
  }),
);
