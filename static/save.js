/** The conversation as files: what was said in writing, and as one sound. Nothing leaves the device. */

import { floatFromPcm16, toPcm16 } from './audio/pcm.js';
import { resample } from './audio/resampler.js';
import { MICROPHONE_RATE } from './audio/microphone.js';
import { ANSWER_RATE } from './audio/speaker.js';
import { wavBlob } from './audio/wav.js';

const GAP_SAMPLES = Math.round(0.35 * ANSWER_RATE); // between the sides

/** @param {import('./conversation.js').Conversation} conversation @returns {string} */
export function conversationText({ turns }) {
  const began = turns.length ? new Date(turns[0].at) : new Date();
  const paragraphs = [`Mini-Omni, ${began.toLocaleString('en', { dateStyle: 'long', timeStyle: 'short' })}`];
  for (const { user, assistant } of turns) {
    if (user.text) paragraphs.push(`You: ${user.text}`);
    if (!assistant.text) continue;
    const said = assistant.interrupted
      ? `${assistant.text.slice(0, assistant.spoken)} … (interrupted)`
      : assistant.text;
    paragraphs.push(`Mini-Omni: ${said}`);
  }
  return `${paragraphs.join('\n\n')}\n`;
}

/**
 * Every turn's question and answer in order, as far as the answer was heard, 24 kHz mono.
 * @param {import('./conversation.js').Conversation} conversation
 * @returns {Int16Array}
 */
export function conversationSound({ turns }) {
  const parts = [];
  for (const { user, assistant } of turns) {
    if (user.sound.length) parts.push(resample(joined(user.sound), MICROPHONE_RATE, ANSWER_RATE));
    if (assistant.sound.length) parts.push(joined(assistant.sound).subarray(0, assistant.played));
  }
  const spoken = parts.filter((part) => part.length);
  const total = spoken.reduce((sum, part) => sum + part.length + GAP_SAMPLES, 0);
  const samples = new Int16Array(total);
  let at = 0;
  for (const part of spoken) {
    for (let i = 0; i < part.length; i += 1) samples[at + i] = toPcm16(part[i]);
    at += part.length + GAP_SAMPLES;
  }
  return samples;
}

/** @returns {Blob} */
export const textFile = (conversation) =>
  new Blob([conversationText(conversation)], { type: 'text/plain;charset=utf-8' });

/** @returns {Blob} */
export const soundFile = (conversation) => wavBlob(conversationSound(conversation), ANSWER_RATE);

/** Seconds of sound that would be saved. */
export function soundSeconds({ turns }) {
  let seconds = 0;
  for (const { user, assistant } of turns) {
    seconds += samplesIn(user.sound) / MICROPHONE_RATE;
    seconds += Math.min(samplesIn(assistant.sound), assistant.played) / ANSWER_RATE;
  }
  return seconds;
}

const samplesIn = (blocks) => blocks.reduce((sum, block) => sum + block.byteLength / 2, 0);

function joined(blocks) {
  const samples = new Float32Array(samplesIn(blocks));
  let at = 0;
  for (const block of blocks) {
    samples.set(floatFromPcm16(block), at);
    at += block.byteLength / 2;
  }
  return samples;
}
