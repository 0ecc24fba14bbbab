/**
 * The conversation as it happens: microphone → server → loudspeaker, and what is going on, in one word.
 *
 * Events: `state` (detail: see `state`), `levels` (detail: {you, assistant}, RMS), `playback` (detail: the
 * loudspeaker's report), `models` (detail: the names of those that the server has loaded), `problem` (detail:
 * {code, text}, a code of `problems.js`), `solved` (detail: codes).
 */

import { Answers } from './answers.js';
import { FRAME_MS, MicrophoneError } from './audio/microphone.js';
import { Sound, SoundError } from './audio/sound.js';
import { Connection } from './connection.js';
import {
  commitMessage,
  interruptMessage,
  playbackMessage,
  serverUrl,
  startMessage,
  stopMessage,
  textMessage,
} from './protocol.js';
import { SILENCE_MS } from './settings.js';

const WARMING_AFTER_MS = 2500;
const TAIL_FRAMES = 8; // 160 ms of microphone after the key is let go: the last word is on its way
const OF_THE_SERVER = ['mode', 'speed', 'eagerness', 'silenceMs', 'model', 'persona', 'ownPrompt']; // settings that it is told
const MICROPHONE_PROBLEMS = [
  'insecure',
  'microphone_refused',
  'microphone_missing',
  'microphone_taken',
  'microphone_lost',
];
const CONNECTION_PROBLEMS = ['server_gone', 'busy', 'not_ready', 'shutting_down', 'refused'];
const QUESTION_PROBLEMS = ['busy', 'invalid_request', 'generation_failed', 'text_too_long', 'shutting_down'];

export class Session extends EventTarget {
  /**
   * @param {import('./settings.js').Settings} settings
   * @param {import('./conversation.js').Conversation} conversation
   */
  constructor(settings, conversation) {
    super();
    this.settings = settings;
    this.conversation = conversation;
    this.live = false; // the server said `ready`
    this.lived = false; // it did so before, in this conversation
    this.ended = false;
    this.muted = false;
    this.testing = false; // the microphone is open for its level only
    this.held = false; // the key of push-to-talk
    this.tailFrames = 0; // still to send of what was held
    this.hearing = false;
    this.thinkingSince = null; // when the question was over, or null
    this.silenceMs = 0; // that had passed by then
    this.sentMs = 0; // of microphone, on this connection
    this.outbox = []; // typed turns to send
    this.unanswered = null; // the typed turn that was sent last, until its answer begins
    this.fatal = null; // code of the error after which the server closes
    this.sound = new Sound({
      onFrame: (frame) => this.#frame(frame),
      onLost: () => this.#microphoneLost(),
      onReport: (report) => this.#played(report),
    });
    this.answers = new Answers(conversation, {
      onFirstSound: (turn) => this.#firstSound(turn),
      onPlayed: (id, playedMs) => this.connection.send(playbackMessage(id, playedMs)),
      onChange: () => this.#changed(),
    });
    this.connection = new Connection(serverUrl(), new URLSearchParams(location.hash.slice(1)).get('key'));
    this.connection.addEventListener('up', () => this.#connected());
    this.connection.addEventListener('down', ({ detail }) => this.#lost(detail));
    this.connection.addEventListener('message', ({ detail }) => this[`on_${detail.type}`]?.(detail));
    this.connection.addEventListener('audio', ({ detail }) => this.answers.sound(detail));
    this.settings.addEventListener('change', ({ detail }) => this.#apply(detail));
  }

  /** ready, connecting, reconnecting, waiting (no microphone), listening, muted, resting
   * (push-to-talk, not pushed), hearing, thinking, speaking or ended. */
  get state() {
    if (!this.connection.wanted) return this.ended ? 'ended' : 'ready';
    if (this.hearing) return 'hearing';
    if (this.answers.playing) return 'speaking';
    if (!this.live) return this.lived ? 'reconnecting' : 'connecting';
    if (this.thinkingSince !== null) return 'thinking';
    if (!this.microphoneOpen) return 'waiting';
    if (this.pushToTalk && !this.held && !this.tailFrames) return 'resting';
    return this.muted ? 'muted' : 'listening';
  }

  get microphoneOpen() {
    return !this.testing && (this.sound.microphone?.open ?? false);
  }

  get pushToTalk() {
    return this.settings.get('mode') === 'push';
  }

  /** Whether there is an answer that `interrupt()` would stop. */
  get interruptible() {
    return this.answers.busy || this.thinkingSince !== null;
  }

  // — what the person does —

  /** Open the microphone and the connection. Call from a click: browsers want one before sound. */
  async start() {
    if (!(await this.#openSound())) return;
    if (!(await this.#openMicrophone())) return;
    this.testing = false;
    this.held = false;
    this.tailFrames = 0;
    this.setMuted(this.pushToTalk);
    this.#open();
  }

  /** Push-to-talk: from here on it is heard. An answer that sounds is stopped. */
  press() {
    if (!this.pushToTalk || !this.microphoneOpen || this.held) return;
    this.held = true;
    this.tailFrames = 0;
    this.interrupt();
    this.setMuted(false);
  }

  /** Push-to-talk: the question is over, once its last frames are sent. */
  release() {
    if (!this.held) return;
    this.held = false;
    this.tailFrames = TAIL_FRAMES;
    this.#changed();
  }

  /** Open the microphone to see its level, without a conversation. @returns {Promise<boolean>} whether it is open */
  async testMicrophone() {
    if (this.microphoneOpen) return true;
    this.testing = (await this.#openSound()) && (await this.#openMicrophone());
    return this.testing;
  }

  endTest() {
    if (!this.testing) return;
    this.testing = false;
    this.sound.microphone.stop();
    this.#levels({ you: 0 });
  }

  /** Ask in writing; where there can be no sound, the answer is written only. @param {string} text not blank */
  async ask(text) {
    await this.#openSound();
    this.answers.silence();
    this.#dropUnfinishedQuestion();
    this.outbox.push(this.conversation.typed(text));
    this.#open();
    this.#post();
  }

  /** Stop the answer that is spoken or being thought about. */
  interrupt() {
    if (!this.interruptible) return;
    this.connection.send(interruptMessage(this.answers.playing ? this.answers.playedMs : 0));
    this.answers.silence();
    this.thinkingSince = null;
    this.#changed();
  }

  setMuted(muted) {
    this.muted = muted;
    this.sound.microphone.muted = muted;
    this.#changed();
  }

  end() {
    this.connection.send(stopMessage());
    this.connection.close();
    this.sound.microphone?.stop();
    this.answers.silence();
    this.#abandon();
    this.outbox = [];
    this.ended = true;
    this.live = false;
    this.lived = false;
    this.#levels({ you: 0, assistant: 0 });
    this.#solved(...CONNECTION_PROBLEMS);
    this.#changed();
  }

  /** Try again now, not at the end of the pause. */
  retry() {
    if (this.connection.wanted) this.connection.retry();
    else this.start();
  }

  // — sound —

  /** @returns {Promise<boolean>} false when there can be no sound; a `problem` says why */
  async #openSound() {
    try {
      await this.sound.open();
    } catch (error) {
      if (!(error instanceof SoundError)) throw error;
      this.#problem(error.code);
      return false;
    }
    this.answers.speaker = this.sound.speaker;
    this.sound.speaker.setVolume(this.settings.get('volume'));
    return true;
  }

  async #openMicrophone() {
    try {
      await this.sound.microphone.start(this.settings.get('deviceId'));
    } catch (error) {
      this.#problem(error instanceof MicrophoneError ? error.code : 'server_gone'); // its worklet could not be loaded
      return false;
    }
    this.#solved(...MICROPHONE_PROBLEMS);
    return true;
  }

  #frame({ pcm, rms }) {
    this.#levels({ you: rms });
    if (!this.microphoneOpen || !this.live) return;
    this.connection.sendAudio(pcm);
    this.sentMs += FRAME_MS;
    this.conversation.microphone(pcm);
    if (this.tailFrames > 0) {
      this.tailFrames -= 1;
      if (this.tailFrames === 0) this.#commit();
    }
  }

  #commit() {
    this.connection.send(commitMessage());
    this.setMuted(true);
  }

  #microphoneLost() {
    this.sound.microphone.stop();
    this.#levels({ you: 0 });
    this.#problem('microphone_lost');
    this.#changed();
  }

  #played(report) {
    this.#levels({ assistant: report.rms });
    this.answers.report(report);
    this.dispatchEvent(new CustomEvent('playback', { detail: report }));
  }

  #firstSound(turn) {
    if (this.thinkingSince !== null) {
      const delayMs = performance.now() - this.thinkingSince + 1000 * this.sound.speaker.heldS;
      this.conversation.answerDelay(turn, delayMs, this.silenceMs);
      this.thinkingSince = null;
    }
    this.#changed();
  }

  // — the connection —

  #open() {
    this.ended = false;
    this.connection.open();
    this.#changed();
  }

  #connected() {
    clearTimeout(this.warming);
    this.warming = setTimeout(() => this.#problem('warming'), WARMING_AFTER_MS);
    for (const turn of this.conversation.turns) turn.serverId = null; // a new connection counts anew
    this.#begin();
  }

  #begin() {
    const { history } = this.conversation;
    this.connection.send(this.#startMessage(history.length ? history : undefined));
  }

  #startMessage(history) {
    const { systemPrompt } = this.settings;
    const silenceMs = this.pushToTalk ? SILENCE_MS.held : this.settings.get('silenceMs');
    const eagerness = this.pushToTalk ? 'off' : this.settings.get('eagerness');
    const [model, speed] = [this.settings.get('model'), this.settings.get('speed')];
    return startMessage({ model, silenceMs, eagerness, speed, systemPrompt, history });
  }

  #post() {
    if (!this.live) return;
    for (const turn of this.outbox.splice(0)) {
      this.connection.send(textMessage(turn.user.text));
      this.unanswered = turn;
      this.thinkingSince = performance.now();
      this.silenceMs = 0;
    }
    this.#changed();
  }

  async #lost({ failures }) {
    const { fatal, live } = this;
    this.fatal = null;
    this.live = false;
    if (this.unanswered) this.outbox.unshift(this.unanswered); // it is asked again
    this.#abandon();
    this.#changed();
    if (fatal) this.#problem(fatal);
    else if (!live && failures > (this.lived ? 1 : 0)) {
      const problem = (await this.#serverAnswers()) ? 'refused' : 'server_gone';
      if (this.connection.wanted && !this.live) this.#problem(problem); // neither ended nor back since it was asked
    }
  }

  /** Whether the server is there at all: a browser does not tell why a socket was refused. */
  async #serverAnswers() {
    try {
      return (await fetch(new URL('health', document.baseURI), { cache: 'no-store' })).ok;
    } catch {
      return false;
    }
  }

  /** Nothing more comes of what had begun. */
  #abandon() {
    clearTimeout(this.warming);
    this.#solved('warming');
    this.thinkingSince = null;
    this.unanswered = null;
    this.answers.cutOff();
    this.#dropUnfinishedQuestion();
  }

  #dropUnfinishedQuestion() {
    this.hearing = false;
    this.conversation.speechStopped();
    for (const turn of [...this.conversation.turns]) if (!turn.user.done) this.conversation.drop(turn);
  }

  // — what the server says —

  async on_ready({ models }) {
    clearTimeout(this.warming);
    this.connection.healthy();
    this.#solved('warming', ...CONNECTION_PROBLEMS);
    this.dispatchEvent(new CustomEvent('models', { detail: models }));
    if (window.isSecureContext && !this.sound.context) await this.#openSound(); // it could not be loaded before
    this.live = this.connection.up;
    this.sentMs = 0;
    this.lived = true;
    this.#post();
  }

  on_speechStarted({ turn }) {
    this.hearing = true;
    this.thinkingSince = null;
    this.conversation.speechStarted(turn);
    this.#changed();
  }

  on_speechStopped({ atMs }) {
    this.hearing = false;
    this.thinkingSince = performance.now();
    this.silenceMs = Math.max(0, this.sentMs - atMs);
    this.conversation.speechStopped();
    this.#changed();
  }

  on_heard({ turn, text, noSpeech }) {
    const known = this.conversation.find(turn);
    if (!noSpeech) this.conversation.heard(turn, text);
    else if (known) this.conversation.drop(known);
    if (noSpeech) this.thinkingSince = null;
    this.#changed();
  }

  on_answerStarted({ answer, turn }) {
    this.unanswered = null;
    this.answers.begin(answer, this.conversation.answerStarted(turn));
    this.#solved('full', ...QUESTION_PROBLEMS);
    this.#changed();
  }

  on_answerText({ text }) {
    this.answers.text(text);
  }

  on_interrupted({ answer, turn, reason, said }) {
    this.answers.interrupted(answer, said);
    if (answer === null && reason !== 'text') this.#giveUp(turn);
    if (reason !== 'text') this.thinkingSince = null;
    this.#changed();
  }

  on_resumed({ answer, playedMs }) {
    if (!this.answers.resume(answer, playedMs)) return;
    this.thinkingSince = null;
    this.#changed();
  }

  on_answerDone({ turn, reason, soundMs, firstSoundMs, factor }) {
    const known = this.conversation.find(turn);
    if (known) this.conversation.answerMeasured(known, firstSoundMs, factor);
    const silent = this.answers.made && !this.answers.made.sounds;
    this.answers.done(reason, soundMs);
    if (silent && reason !== 'interrupted') this.thinkingSince = null;
    this.#changed();
  }

  on_error({ code, text, fatal, turn }) {
    if (fatal) {
      this.fatal = code;
      this.connection.wait();
      return;
    }
    if (code === 'unknown_model') {
      this.settings.set('model', ''); // the server was started with others since; while it is live, it is told
      if (!this.live) this.#begin();
      return;
    }
    if (turn !== null || QUESTION_PROBLEMS.includes(code)) {
      this.thinkingSince = null;
      this.#giveUp(turn);
      this.unanswered = null;
    }
    this.#problem(code === 'busy' ? 'full' : code, text);
    this.#changed();
  }

  /** No answer comes to this question, or, where the server's number is unknown, to the typed one that waits. */
  #giveUp(serverId) {
    const turn = this.conversation.find(serverId) ?? this.unanswered;
    if (turn && !turn.assistant.done) this.conversation.answerInterrupted(turn);
  }

  #apply({ name }) {
    if (name === 'volume') this.sound.speaker?.setVolume(this.settings.get('volume'));
    else if (name === 'deviceId' && this.testing) this.testMicrophone();
    else if (name === 'deviceId') this.microphoneOpen && this.start();
    else if (OF_THE_SERVER.includes(name) && this.live) this.connection.send(this.#startMessage());
    if (name === 'mode' && this.microphoneOpen) {
      this.held = false;
      this.tailFrames = 0;
      this.setMuted(this.pushToTalk);
    }
  }

  // — telling —

  #levels(levels) {
    this.dispatchEvent(new CustomEvent('levels', { detail: levels }));
  }

  #problem(code, text) {
    this.dispatchEvent(new CustomEvent('problem', { detail: { code, text } }));
  }

  #solved(...codes) {
    this.dispatchEvent(new CustomEvent('solved', { detail: codes }));
  }

  #changed() {
    this.dispatchEvent(new CustomEvent('state', { detail: this.state }));
  }
}
