// `@openai/agents-realtime`: a RealtimeSession with its WebSocket transport.

import { RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';

import { Queue, isEnough, main, newTurn, pieces, sleep } from './scenarios.mjs';

/** The package keeps the history, and interrupts by the time since an answer's first sound. */
async function open(url, push) {
  const turnDetection = push ? null : { type: 'server_vad', interruptResponse: true };
  const session = new RealtimeSession(new RealtimeAgent({ name: 'Assistant' }), {
    transport: 'websocket',
    config: { audio: { input: { turnDetection } } },
  });
  const turns = new Queue();
  const errors = [];
  let [turn, soundsEnough, changed] = [newTurn(), null, null];
  const sounds = new Promise((resolve) => (soundsEnough = resolve));
  const messages = () => session.history.filter((item) => item.type === 'message');
  const place = (itemId) => messages().findIndex((item) => item.itemId === itemId);

  let sounding = turn; // its sound came last: it is played when it has long been made
  session.on('audio', ({ data }) => {
    sounding = turn;
    turn.itemId = session.transport.currentItemId;
    turn.sound.push(Buffer.from(data));
    if (isEnough(turn.sound)) soundsEnough();
  });
  session.on('audio_interrupted', () => (sounding.cut = true));
  session.on('agent_end', () => {
    turns.put(turn);
    turn = newTurn();
  });
  session.on('history_updated', () => changed?.());
  session.on('error', ({ error }) => errors.push(error?.error?.message ?? String(error)));
  await session.connect({ url: `${url.replace('http', 'ws')}/v1/realtime`, apiKey: 'none' });

  const bytes = (piece) => piece.buffer.slice(piece.byteOffset, piece.byteOffset + piece.length);
  return {
    errors,
    type: (text) => session.sendMessage(text),
    speak: (sound) => pieces(sound).forEach((piece) => session.sendAudio(bytes(piece))),
    push(sound) {
      session.sendAudio(bytes(sound), { commit: true });
      session.transport.requestResponse();
    },
    async playing(seconds) {
      await sounds;
      await sleep(seconds);
    },
    async answer() {
      const ended = await turns.get();
      const answered = messages()[place(ended.itemId)];
      const asked = messages()[place(ended.itemId) - 1].content[0];
      ended.said = answered.content[0].transcript;
      ended.heard = asked.type === 'input_audio' ? asked.transcript : null;
      return ended;
    },
    // the package asks for the item itself, once it was truncated: its history holds what is kept
    async remembered({ itemId, said }) {
      for (;;) {
        const kept = messages()[place(itemId)].content[0].transcript;
        if (kept.length < said.length) return kept;
        await new Promise((resolve) => (changed = resolve));
      }
    },
    close: () => session.close(),
  };
}

await main(open);
