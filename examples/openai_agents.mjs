// A voice agent of the OpenAI Agents SDK for Node: a spoken or a typed question, and the spoken answer.
//   node openai_agents.mjs question.wav | "What is the capital of France?"  [answer.wav]

import { readFileSync, writeFileSync } from 'node:fs';
import { RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';

const baseURL = process.env.OPENAI_BASE_URL ?? 'http://127.0.0.1:8000/v1';
const apiKey = process.env.OPENAI_API_KEY ?? 'none';
const [question, answer = 'answer.wav'] = process.argv.slice(2);

const session = new RealtimeSession(new RealtimeAgent({ name: 'Assistant' }), { transport: 'websocket' });
const sound = [];

session.on('audio', ({ data }) => sound.push(Buffer.from(data))); // PCM16, 24 kHz: play it as it comes
session.on('audio_interrupted', () => (sound.length = 0)); // somebody speaks: stop playing
session.on('error', ({ error }) => {
  console.error(error);
  process.exit(1);
});
session.on('agent_end', () => {
  for (const { role, content } of session.history) {
    console.log(role === 'user' ? 'heard:' : 'said: ', content[0].transcript ?? content[0].text);
  }
  writeFileSync(answer, wav(Buffer.concat(sound)));
  session.close();
});

await session.connect({ url: baseURL.replace('http', 'ws') + '/realtime', apiKey });
if (question.endsWith('.wav')) {
  for (const piece of read(question)) session.sendAudio(piece);
} else {
  session.sendMessage(question);
}

/** A WAV file of PCM16, mono, 24 kHz in pieces of 100 ms, then a second of silence, in which the turn ends. */
function read(path) {
  const pcm = new Uint8Array(Buffer.concat([readFileSync(path).subarray(44), Buffer.alloc(48_000)])).buffer;
  return Array.from({ length: Math.ceil(pcm.byteLength / 4800) }, (_, n) => pcm.slice(n * 4800, (n + 1) * 4800));
}

function wav(pcm) {
  const header = Buffer.from('RIFF....WAVEfmt \x10\0\0\0\x01\0\x01\0\xc0\x5d\0\0\x80\xbb\0\0\x02\0\x10\0data....', 'latin1');
  header.writeUInt32LE(36 + pcm.length, 4);
  header.writeUInt32LE(pcm.length, 40);
  return Buffer.concat([header, pcm]);
}
