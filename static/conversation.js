/** What has been said so far: turns of two sides, their texts, sounds and delays. No screen, no network. */

const PREROLL_FRAMES = 30; // 600 ms of microphone from before speech was noticed
const KEPT_BYTES = 120_000_000; // of sound, for saving; the oldest goes first

/**
 * @typedef {object} Turn
 * @property {number} id
 * @property {number|null} serverId the server's `turn_id`
 * @property {number} at milliseconds since 1970
 * @property {{text: string, typed: boolean, done: boolean, sound: ArrayBuffer[]}} user 16 kHz PCM16
 * @property {{text: string, spoken: number, started: boolean, done: boolean, interrupted: boolean,
 *   sound: ArrayBuffer[], played: number}} assistant 24 kHz PCM16;
 *   `spoken`: characters said so far; `played`: samples heard
 * @property {number|null} delayMs from when the question was known to be over to the first sound of the answer
 * @property {number} silenceMs from the end of the question until that was known
 * @property {number|null} serverMs the server's part of `delayMs`, as it measured it
 * @property {number|null} factor time to make the answer ÷ its length, as the server measured it
 */

/** Events: `change` (detail: Turn), `drop` (detail: Turn). */
export class Conversation extends EventTarget {
  constructor() {
    super();
    /** @type {Turn[]} */
    this.turns = [];
    this.preroll = [];
    this.recording = null;
    this.bytes = 0;
    this.count = 0;
  }

  get empty() {
    return !this.turns.some(({ user, assistant }) => user.text || assistant.text);
  }

  /** What a new connection must know to go on: both sides in words, the answer as far as it was said. */
  get history() {
    return this.turns
      .map(({ user, assistant }) => ({
        user: user.text,
        assistant: assistant.interrupted ? assistant.text.slice(0, assistant.spoken) : assistant.text,
      }))
      .filter(({ user, assistant }) => user && assistant);
  }

  /** @returns {Turn|undefined} */
  find(serverId) {
    return this.turns.findLast((turn) => serverId !== null && turn.serverId === serverId);
  }

  /** A frame of the microphone: kept while the person speaks. */
  microphone(pcm) {
    if (this.recording) {
      this.#keep(this.recording.user.sound, pcm);
    } else {
      this.preroll.push(pcm);
      if (this.preroll.length > PREROLL_FRAMES) this.preroll.shift();
    }
  }

  /** The person began to speak, or went on after a pause. */
  speechStarted(serverId) {
    const turn = this.find(serverId) ?? this.#begin(serverId, false);
    this.recording = turn;
    for (const pcm of this.preroll.splice(0)) this.#keep(turn.user.sound, pcm);
    this.changed(turn);
    return turn;
  }

  speechStopped() {
    this.recording = null;
  }

  /** The question in words; heard again when the person went on after a pause. */
  heard(serverId, text) {
    const turn = this.find(serverId) ?? this.#begin(serverId, false);
    turn.user.text = text;
    turn.user.done = true;
    this.changed(turn);
    return turn;
  }

  typed(text) {
    const turn = this.#begin(null, true);
    turn.user.text = text;
    turn.user.done = true;
    this.changed(turn);
    return turn;
  }

  answerStarted(serverId) {
    let turn = this.find(serverId);
    turn ??= this.turns.find(({ user, assistant, serverId: id }) => user.typed && id === null && !assistant.done);
    turn ??= this.#begin(serverId, false);
    turn.serverId = serverId;
    turn.user.done = true;
    turn.assistant.started = true;
    this.changed(turn);
    return turn;
  }

  answerText(turn, delta) {
    turn.assistant.text += delta;
    this.changed(turn);
  }

  answerSound(turn, pcm) {
    this.#keep(turn.assistant.sound, pcm);
  }

  /** @param {number} played samples heard @param {number} spoken characters said */
  answerProgress(turn, played, spoken) {
    turn.assistant.played = Math.max(turn.assistant.played, played);
    if (turn.assistant.done || spoken <= turn.assistant.spoken) return;
    turn.assistant.spoken = spoken;
    this.changed(turn);
  }

  answerDelay(turn, delayMs, silenceMs) {
    turn.delayMs = delayMs;
    turn.silenceMs = silenceMs;
    this.changed(turn);
  }

  /** What the server measured. */
  answerMeasured(turn, serverMs, factor) {
    turn.serverMs = serverMs;
    turn.factor = factor;
    this.changed(turn);
  }

  /** It is written only: there is nothing to wait for. */
  answerWritten(turn) {
    turn.assistant.spoken = turn.assistant.text.length;
    this.changed(turn);
  }

  /** The interruption was none: it goes on from there. @param {number} played samples that count as heard */
  answerResumed(turn, played) {
    const { assistant } = turn;
    assistant.interrupted = false;
    assistant.done = false;
    assistant.played = played;
    let bytes = 2 * played; // what comes again replaces what had come
    const kept = [];
    for (const block of assistant.sound) {
      const part = block.slice(0, Math.max(0, bytes));
      if (part.byteLength) kept.push(part);
      bytes -= block.byteLength;
      this.bytes -= block.byteLength - part.byteLength;
    }
    assistant.sound = kept;
    this.changed(turn);
  }

  /** All was said. */
  answerEnded(turn) {
    turn.assistant.done = true;
    turn.assistant.spoken = turn.assistant.text.length;
    this.changed(turn);
  }

  /** The person spoke over it, or it was cut off. @param {string|null} said null: as far as it was played */
  answerInterrupted(turn, said = null) {
    turn.assistant.done = true;
    turn.assistant.interrupted = true;
    if (said !== null) turn.assistant.spoken = Math.min(said.length, turn.assistant.text.length);
    this.changed(turn);
  }

  /** It was no question after all, or it was lost. */
  drop(turn) {
    if (this.recording === turn) this.recording = null;
    const index = this.turns.indexOf(turn);
    if (index < 0) return;
    this.turns.splice(index, 1);
    this.#forgetSound(turn);
    this.dispatchEvent(new CustomEvent('drop', { detail: turn }));
  }

  changed(turn) {
    this.dispatchEvent(new CustomEvent('change', { detail: turn }));
  }

  #begin(serverId, typed) {
    this.count += 1;
    const turn = {
      id: this.count,
      serverId,
      at: Date.now(),
      user: { text: '', typed, done: false, sound: [] },
      assistant: { text: '', spoken: 0, started: false, done: false, interrupted: false, sound: [], played: 0 },
      delayMs: null,
      silenceMs: 0,
      serverMs: null,
      factor: null,
    };
    this.turns.push(turn);
    return turn;
  }

  #keep(sound, pcm) {
    sound.push(pcm);
    this.bytes += pcm.byteLength;
    for (let oldest = 0; this.bytes > KEPT_BYTES && oldest < this.turns.length - 1; oldest += 1) {
      this.#forgetSound(this.turns[oldest]);
    }
  }

  #forgetSound({ user, assistant }) {
    for (const side of [user, assistant]) {
      for (const block of side.sound) this.bytes -= block.byteLength;
      side.sound = [];
    }
  }
}
