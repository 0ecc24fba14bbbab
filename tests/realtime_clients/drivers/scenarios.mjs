// What every client is put through, and how a driver reports it: scenarios.py for Node.
//   node DRIVER.mjs URL SOUNDS OUT [SCENARIO …]

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const SAMPLE_RATE = 24_000;
const LONG_QUESTION = 'Why is the sky blue?';
const PLAYED_S = 1.0;
const ENOUGH_BYTES = 2 * SAMPLE_RATE * 2;
const TIMEOUT_S = 150;
const PUSH_TO_TALK = ['pushed', 'remembering'];

/** One answer as the client's own interface told it to its user. */
export const newTurn = () => ({ said: '', heard: null, sound: [], cut: false, itemId: '' });

/** How many bytes of sound there are in these pieces. */
export const length = (sound) => sound.reduce((sum, piece) => sum + piece.length, 0);

/** Whether a loudspeaker has enough to play of an answer that is going to be interrupted. */
export const isEnough = (sound) => length(sound) >= ENOUGH_BYTES;

/** What is put in comes out in order; who asks first waits. */
export class Queue {
  #items = [];
  #waiting = [];

  put(item) {
    const next = this.#waiting.shift();
    if (next) next(item);
    else this.#items.push(item);
  }

  get() {
    return this.#items.length ? this.#items.shift() : new Promise((resolve) => this.#waiting.push(resolve));
  }
}

export const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

/** PCM16 as a microphone gives it, with a second of silence at its end. */
export function pieces(sound, milliseconds = 100) {
  const size = (2 * SAMPLE_RATE * milliseconds) / 1000;
  const whole = Buffer.concat([sound, Buffer.alloc(2 * SAMPLE_RATE)]);
  return Array.from({ length: Math.ceil(whole.length / size) }, (_, n) => whole.subarray(n * size, (n + 1) * size));
}

const HEADER_BYTES = 44; // of a WAV file as the tests write it

const scenarios = {
  async spoken(talk, sound) {
    await talk.speak(sound('question'));
    return { turns: [await talk.answer()] };
  },
  async typed(talk) {
    await talk.type('What is the capital of France?');
    return { turns: [await talk.answer()] };
  },
  async pushed(talk, sound) {
    await talk.push(sound('question'));
    return { turns: [await talk.answer()] };
  },
  async remembering(talk, sound) {
    await talk.type('I have a dog called Max.');
    const turns = [await talk.answer()];
    await talk.push(sound('question'));
    turns.push(await talk.answer());
    await talk.type('What is my dog called?');
    turns.push(await talk.answer());
    return { turns };
  },
  async interrupted(talk, sound) {
    await talk.type(LONG_QUESTION);
    await talk.playing(PLAYED_S);
    await talk.speak(sound('question'));
    const turns = [await talk.answer(), await talk.answer()];
    return { turns, remembered: await talk.remembered(turns[0]) };
  },
};

/** Run the scenarios that are named, or all. `open(url, push)` → a connection: type, speak, push, playing, answer … */
export async function main(open) {
  const [url, sounds, out, ...names] = process.argv.slice(2);
  const sound = (name) => readFileSync(join(sounds, `${name}.wav`)).subarray(HEADER_BYTES);
  const report = {};
  for (const name of names.length ? names : Object.keys(scenarios)) {
    let talk;
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done after ${TIMEOUT_S} s`)), 1000 * TIMEOUT_S);
    });
    try {
      const run = async () => {
        talk = await open(url, PUSH_TO_TALK.includes(name));
        return scenarios[name](talk, sound);
      };
      const { turns, ...rest } = await Promise.race([run(), late]);
      report[name] = { ...rest, turns: turns.map((turn, n) => write(turn, out, `${name}-${n}.wav`)) };
    } catch (error) {
      report[name] = { failure: error.stack ?? String(error) }; // told, so that the other scenarios run
    }
    clearTimeout(timer);
    report[name].errors = talk?.errors ?? [];
    talk?.close();
  }
  writeFileSync(join(out, 'report.json'), JSON.stringify(report, null, 1));
}

function write({ said, heard, cut, sound }, folder, name) {
  writeFileSync(join(folder, name), wav(Buffer.concat(sound)));
  return { said, heard, cut, sound: name };
}

function wav(pcm) {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + pcm.length, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20); // PCM
  header.writeUInt16LE(1, 22); // channels
  header.writeUInt32LE(SAMPLE_RATE, 24);
  header.writeUInt32LE(2 * SAMPLE_RATE, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36);
  header.writeUInt32LE(pcm.length, 40);
  return Buffer.concat([header, pcm]);
}
