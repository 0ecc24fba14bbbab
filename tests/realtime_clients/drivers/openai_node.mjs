// The `openai` package for Node, over the `ws` package.

import { connect } from 'node:net';

import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';

import { Queue, isEnough, length, main, newTurn, pieces, sleep } from './scenarios.mjs';

/** Plays answers by the clock, and truncates them when the server hears speech, as OpenAI's guide says. */
async function open(url, push) {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none' });
  const createConnection = ({ host, port }) => connect(port, host); // without TLS, which the package always asks for
  const rt = new OpenAIRealtimeWS({ model: 'smol-omni', options: { createConnection } }, client);
  const [turns, retrieved] = [new Queue(), new Queue()];
  const errors = [];
  let [turn, heard, began, inProgress, soundsEnough] = [newTurn(), null, 0, false, null];
  const sounds = new Promise((resolve) => (soundsEnough = resolve));

  rt.on('response.created', () => ([turn, inProgress] = [newTurn(), true]));
  rt.on('response.output_audio.delta', (event) => {
    if (!turn.sound.length) began = Date.now();
    turn.itemId = event.item_id;
    turn.sound.push(Buffer.from(event.delta, 'base64'));
    if (isEnough(turn.sound)) soundsEnough();
  });
  rt.on('response.output_audio_transcript.delta', (event) => (turn.said += event.delta));
  rt.on('conversation.item.input_audio_transcription.completed', (event) => (heard = event.transcript));
  rt.on('input_audio_buffer.speech_started', () => {
    const soundMs = Math.floor(length(turn.sound) / 48);
    const playedMs = Math.min(Date.now() - began, soundMs);
    if (!soundMs || (!inProgress && playedMs === soundMs)) return;
    turn.cut = true;
    rt.send({ type: 'conversation.item.truncate', item_id: turn.itemId, content_index: 0, audio_end_ms: playedMs });
  });
  rt.on('response.done', () => {
    [inProgress, turn.heard, heard] = [false, heard, null];
    turns.put(turn);
  });
  rt.on('conversation.item.retrieved', (event) => retrieved.put(event.item.content[0].transcript));
  rt.on('error', (error) => errors.push(error.message));

  await new Promise((resolve, reject) => rt.socket.on('open', resolve).on('error', reject));
  const turnDetection = push ? null : { type: 'server_vad' };
  const input = { transcription: { model: 'whisper-1' }, turn_detection: turnDetection };
  rt.send({ type: 'session.update', session: { type: 'realtime', audio: { input } } });
  const append = (piece) => rt.send({ type: 'input_audio_buffer.append', audio: piece.toString('base64') });

  return {
    errors,
    type(text) {
      const content = [{ type: 'input_text', text }];
      rt.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
      rt.send({ type: 'response.create' });
    },
    speak: (sound) => pieces(sound).forEach(append),
    push(sound) {
      append(sound);
      rt.send({ type: 'input_audio_buffer.commit' });
      rt.send({ type: 'response.create' });
    },
    async playing(seconds) {
      await sounds;
      await sleep(seconds);
    },
    answer: () => turns.get(),
    async remembered({ itemId }) {
      rt.send({ type: 'conversation.item.retrieve', item_id: itemId });
      return retrieved.get();
    },
    close: () => rt.close(),
  };
}

await main(open);
