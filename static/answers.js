/** Answers as they are made and as they are heard: the two differ, for sound is sent faster than it is played. */

import { ANSWER_RATE } from './audio/speaker.js';

const REPORT_EVERY_MS = 250;
const CHARACTERS_PER_S = 15; // of speech, until a whole answer has told better

/**
 * @typedef {object} Answer
 * @property {number} id the server's `response_id`
 * @property {import('./conversation.js').Turn} turn
 * @property {boolean} sounds whether any sound of it has come
 * @property {number|null} soundMs its whole length, once known
 * @property {string|null} reason why it ended, once it has been made
 * @property {number} playedMs of it that were heard
 */

export class Answers {
  /**
   * @param {import('./conversation.js').Conversation} conversation
   * @param {{onFirstSound: (turn: object) => void, onPlayed: (id: number, playedMs: number) => void,
   *   onChange: () => void}} handlers `onPlayed`: a few times a second, and once at the end
   */
  constructor(conversation, handlers) {
    this.conversation = conversation;
    this.handlers = handlers;
    this.speaker = null; // without one, answers are written only
    /** @type {Answer|null} */
    this.made = null;
    /** @type {Answer|null} */
    this.heard = null;
    /** @type {Answer|null} the latest, which may yet go on */
    this.latest = null;
    this.reportedAt = 0;
    this.pace = CHARACTERS_PER_S;
  }

  /** How much of what sounds has been heard. */
  get playedMs() {
    return this.heard?.playedMs ?? 0;
  }

  get playing() {
    return this.heard !== null;
  }

  get busy() {
    return this.playing || this.made !== null;
  }

  begin(id, turn) {
    this.made = { id, turn, sounds: false, soundMs: null, reason: null, playedMs: 0 };
    this.latest = this.made;
  }

  /** It was cut off by mistake: the rest of its sound comes now. @returns {boolean} false for one that is not known */
  resume(id, playedMs) {
    const answer = this.latest;
    if (answer?.id !== id) return false;
    Object.assign(answer, { reason: null, soundMs: null, playedMs });
    this.conversation.answerResumed(answer.turn, Math.round((playedMs * ANSWER_RATE) / 1000));
    this.made = answer;
    if (this.speaker) this.#sound(answer);
    return true;
  }

  text(delta) {
    if (!this.made) return;
    this.conversation.answerText(this.made.turn, delta);
    if (!this.speaker) this.conversation.answerWritten(this.made.turn);
  }

  /** @param {ArrayBuffer} pcm given away */
  sound(pcm) {
    const { made } = this;
    if (!made || !this.speaker || !pcm.byteLength) return;
    if (!made.sounds) this.#sound(made);
    this.conversation.answerSound(made.turn, pcm.slice(0));
    this.speaker.push(pcm);
  }

  #sound(answer) {
    answer.sounds = true;
    this.heard = answer;
    this.reportedAt = performance.now();
    this.speaker.begin(answer.id, answer.playedMs);
  }

  /** All of it has come; it may sound for a while yet. */
  done(reason, soundMs) {
    const { made } = this;
    this.made = null;
    if (!made) return;
    made.reason ??= reason;
    made.soundMs = soundMs;
    if (made.sounds) {
      if (reason === 'stop' && soundMs > 500) this.pace = (1000 * made.turn.assistant.text.length) / soundMs;
      this.speaker.end();
    } else {
      this.#settle(made);
    }
  }

  /** It was interrupted. @param {string} said what counts as said */
  interrupted(id, said) {
    this.silence();
    for (const answer of new Set([this.made, this.heard])) {
      if (answer?.id !== id) continue;
      answer.reason = 'interrupted';
      this.conversation.answerInterrupted(answer.turn, said);
    }
  }

  /** The connection is gone: what has come is played to its end, and that is all. */
  cutOff() {
    const { made } = this;
    this.made = null;
    this.latest = null; // a new connection counts anew
    if (!made) return;
    made.reason = 'interrupted';
    if (made.sounds) this.speaker.end();
    else this.#settle(made);
  }

  /** Fall silent at once. */
  silence() {
    this.speaker?.flush();
  }

  /** What the loudspeaker says, about every 50 ms. */
  report({ type, answer, heard }) {
    const current = this.heard;
    if (!current || answer !== current.id) return;
    current.playedMs = (1000 * heard) / ANSWER_RATE;
    this.conversation.answerProgress(current.turn, heard, this.#spokenCharacters(current));
    if (type === 'started') this.handlers.onFirstSound(current.turn);
    const over = type === 'finished' || type === 'flushed';
    if (over) {
      this.heard = null;
      if (type === 'flushed') current.reason = 'interrupted';
      this.#settle(current);
    }
    if (over || performance.now() - this.reportedAt > REPORT_EVERY_MS) {
      this.reportedAt = performance.now();
      this.handlers.onPlayed(current.id, current.playedMs);
    }
    if (over) this.handlers.onChange();
  }

  #settle({ turn, reason }) {
    if (turn.assistant.done) return;
    if (reason === 'stop' || reason === 'length') this.conversation.answerEnded(turn);
    else this.conversation.answerInterrupted(turn);
  }

  /** How much of the text has been said: by its share of the sound, or by the pace of earlier answers. */
  #spokenCharacters({ turn, soundMs, playedMs }) {
    const { length } = turn.assistant.text;
    const spoken = soundMs ? (playedMs / soundMs) * length : (playedMs / 1000) * this.pace;
    return Math.min(length, Math.round(spoken));
  }
}
