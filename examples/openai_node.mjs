// Talk with the server through the `openai` package for Node: a spoken or a typed question, and the spoken answer.
//   node openai_node.mjs question.wav | "What is the capital of France?"  [answer.wav]

import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';

const baseURL = process.env.OPENAI_BASE_URL ?? 'http://127.0.0.1:8000/v1';
const client = new OpenAI({ baseURL, apiKey: process.env.OPENAI_API_KEY ?? 'none' });
const [question, answer = 'answer.wav'] = process.argv.slice(2);

// The package speaks TLS whatever the base URL says. Without a proxy that has a certificate, connect without:
const options = baseURL.startsWith('https') ? {} : { createConnection: ({ host, port }) => connect(port, host) };
const rt = new OpenAIRealtimeWS({ model: 'smol-omni', options }, client);
const sound = [];

rt.socket.on('open', () => {
  const transcription = { model: 'whisper-1' }; // tells what was heard
  rt.send({ type: 'session.update', session: { type: 'realtime', audio: { input: { transcription } } } });
  if (question.endsWith('.wav')) {
    for (const piece of read(question)) rt.send({ type: 'input_audio_buffer.append', audio: piece.toString('base64') });
  } else {
    const content = [{ type: 'input_text', text: question }];
    rt.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
    rt.send({ type: 'response.create' });
  }
});
rt.on('conversation.item.input_audio_transcription.completed', (event) => console.log('heard:', event.transcript));
rt.on('response.output_audio.delta', (event) => sound.push(Buffer.from(event.delta, 'base64'))); // PCM16, 24 kHz
rt.on('response.output_audio_transcript.done', (event) => console.log('said: ', event.transcript));
rt.on('error', (error) => {
  console.error(error.message);
  process.exit(1);
});
rt.on('response.done', () => {
  writeFileSync(answer, wav(Buffer.concat(sound)));
  rt.close();
});

/** A WAV file of PCM16, mono, 24 kHz in pieces of 100 ms, then a second of silence, in which the turn ends. */
function read(path) {
  const pcm = Buffer.concat([readFileSync(path).subarray(44), Buffer.alloc(48_000)]);
  return Array.from({ length: Math.ceil(pcm.length / 4800) }, (_, n) => pcm.subarray(n * 4800, (n + 1) * 4800));
}

function wav(pcm) {
  const header = Buffer.from('RIFF....WAVEfmt \x10\0\0\0\x01\0\x01\0\xc0\x5d\0\0\x80\xbb\0\0\x02\0\x10\0data....', 'latin1');
  header.writeUInt32LE(36 + pcm.length, 4);
  header.writeUInt32LE(pcm.length, 40);
  return Buffer.concat([header, pcm]);
}
