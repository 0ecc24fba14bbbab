/** The messages of `/ws` as `docs/protocol.md` writes them. No other module knows a field's name. */

import { MICROPHONE_RATE } from './audio/microphone.js';

const HISTORY_TURNS = 64;
const HISTORY_CHARACTERS = 4000;

/** The server's address, beside the page. */
export function serverUrl() {
  const url = new URL('ws', document.baseURI);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.search = '';
  url.hash = '';
  return url.href;
}

/** The IANA name of the browser's time zone; undefined, and so not sent, where it knows none. */
function timeZone() {
  const { timeZone: name } = Intl.DateTimeFormat().resolvedOptions();
  return name?.startsWith('Etc/Unknown') ? undefined : name;
}

/**
 * @param {{model: string, silenceMs: number, eagerness: string, speed: number, systemPrompt: string|null, history?: {user: string, assistant: string}[]}} options
 *   `model`: one of those in `ready`, '' leaves it to the server; `eagerness`: low, auto, high, or off (then a turn ends after `silenceMs`); '' leaves it to the server; `history`: what was said before the connection was lost, oldest first
 */
export function startMessage({ model, silenceMs, eagerness, speed, systemPrompt, history }) {
  const message = {
    type: 'start',
    sample_rate: MICROPHONE_RATE,
    system_prompt: systemPrompt,
    speed,
    time_zone: timeZone(),
  };
  if (model) message.model = model;
  if (eagerness) message.eagerness = eagerness;
  if (eagerness === 'off') message.end_silence_ms = silenceMs;
  if (history) {
    message.history = history.slice(-HISTORY_TURNS).map(({ user, assistant }) => ({
      user: user.slice(0, HISTORY_CHARACTERS),
      assistant: assistant.slice(0, HISTORY_CHARACTERS),
    }));
  }
  return message;
}

export const textMessage = (text) => ({ type: 'text', text });
export const commitMessage = () => ({ type: 'commit' });
export const stopMessage = () => ({ type: 'stop' });
export const interruptMessage = (playedMs) => ({ type: 'interrupt', played_ms: Math.round(playedMs) });
export const playbackMessage = (responseId, playedMs) => ({
  type: 'playback',
  response_id: responseId,
  played_ms: Math.round(playedMs),
});

/** @param {string} data @returns {object} a message in the page's own words; `type: 'unknown'` for what is not known */
export function parse(data) {
  const message = JSON.parse(data);
  const read = Object.hasOwn(READERS, message.type) ? READERS[message.type] : () => ({ type: 'unknown' });
  return read(message);
}

const READERS = {
  ready: (m) => ({ type: 'ready', models: m.models ?? [] }),
  speech_started: (m) => ({ type: 'speechStarted', turn: m.turn_id, resumed: Boolean(m.resumed) }),
  speech_stopped: (m) => ({ type: 'speechStopped', turn: m.turn_id, atMs: m.at_ms }),
  heard: (m) => ({ type: 'heard', turn: m.turn_id, text: m.text, noSpeech: Boolean(m.no_speech) }),
  response_started: (m) => ({ type: 'answerStarted', answer: m.response_id, turn: m.turn_id }),
  text_delta: (m) => ({ type: 'answerText', answer: m.response_id, text: m.text }),
  text_done: (m) => ({ type: 'answerWritten', answer: m.response_id, text: m.text }),
  interrupted: (m) => ({
    type: 'interrupted',
    answer: m.response_id ?? null,
    turn: m.turn_id ?? null,
    reason: m.reason,
    said: m.text ?? '',
  }),
  resumed: (m) => ({ type: 'resumed', answer: m.response_id, turn: m.turn_id ?? null, playedMs: m.played_ms ?? 0 }),
  response_done: (m) => ({
    type: 'answerDone',
    answer: m.response_id,
    turn: m.turn_id,
    reason: m.reason,
    text: m.text ?? '',
    soundMs: m.audio_ms ?? 0,
    firstSoundMs: m.first_audio_ms ?? null,
    factor: m.real_time_factor ?? null,
  }),
  error: (m) => ({ type: 'error', code: m.code, text: m.message, fatal: Boolean(m.fatal), turn: m.turn_id ?? null }),
};
