/** The state in words, the levels of both sides, and the buttons that fit the moment. */

import { Meter } from './meter.js';

const WORDS = {
  ready: ['Say something', 'It answers out loud, while it is still thinking.'],
  connecting: ['Connecting', 'One moment.'],
  reconnecting: ['Reconnecting', 'The conversation will go on where it stopped.'],
  waiting: ['Ready', 'Type a question, or turn on the microphone.'],
  listening: ['Listening', 'Speak whenever you like.'],
  muted: ['Muted', 'It cannot hear you now.'],
  resting: ['Hold to talk', 'Hold Space or the button while you speak.'],
  hearing: ['Hearing you', 'It answers when you pause.'],
  thinking: ['Thinking', 'The answer begins in a moment.'],
  speaking: ['Speaking', 'You can talk over it.'],
  ended: ['Until next time', 'What was said stays here until you leave the page.'],
};
const WHILE_HELD = { listening: 'Let go when you are done.', hearing: 'Let go when you are done.' };
const PUSH_TO_STOP = 'Hold the button to talk over it.';

export class Stage {
  /** @param {import('../session.js').Session} session @param {import('./seeds.js').Seeds} seeds */
  constructor(session, seeds) {
    this.session = session;
    this.seeds = seeds;
    this.state = document.getElementById('state');
    this.hint = document.getElementById('hint');
    this.levels = document.getElementById('levels');
    this.meters = { you: new Meter('you-level'), assistant: new Meter('assistant-level') };
    this.buttons = Object.fromEntries(
      ['start', 'hold', 'mute', 'interrupt', 'end'].map((name) => [name, document.getElementById(name)]),
    );
    this.#listen();
    this.#holding();
  }

  #listen() {
    const { session, buttons } = this;
    buttons.start.addEventListener('click', () => this.start());
    buttons.mute.addEventListener('click', () => {
      if (session.microphoneOpen) session.setMuted(!session.muted);
      else session.start();
    });
    buttons.interrupt.addEventListener('click', () => session.interrupt());
    buttons.end.addEventListener('click', () => {
      session.end();
      buttons.start.focus();
    });
    session.addEventListener('state', ({ detail }) => this.#show(detail));
    session.addEventListener('levels', ({ detail }) => this.#level(detail));
    session.addEventListener('playback', ({ detail }) => this.#played(detail));
  }

  /** The button of push-to-talk, by finger and by key; letting go anywhere counts. */
  #holding() {
    const { session, buttons } = this;
    const { hold } = buttons;
    const release = () => session.release();
    hold.addEventListener('pointerdown', (event) => {
      if (event.button === 0) session.press();
    });
    for (const event of ['pointerup', 'pointercancel', 'blur']) window.addEventListener(event, release);
    hold.addEventListener('contextmenu', (event) => event.preventDefault()); // a long touch is meant otherwise here
    hold.addEventListener('keydown', (event) => {
      if (event.key !== ' ' && event.key !== 'Enter') return;
      event.preventDefault();
      if (!event.repeat) session.press();
    });
    hold.addEventListener('keyup', (event) => (event.key === ' ' || event.key === 'Enter') && release());
  }

  async start() {
    const { start, mute, hold } = this.buttons;
    if (start.disabled) return;
    start.disabled = true;
    try {
      await this.session.start();
    } finally {
      start.disabled = false;
    }
    if (start.hidden && document.activeElement === document.body) {
      (mute.hidden ? hold : mute).focus({ focusVisible: false });
    }
  }

  #show(state) {
    const { session, buttons, seeds } = this;
    const [word, usual] = WORDS[state];
    const hint = session.held ? (WHILE_HELD[state] ?? usual) : usual;
    const fitting = state === 'speaking' && session.pushToTalk && session.microphoneOpen ? PUSH_TO_STOP : hint;
    document.body.dataset.state = state;
    if (this.state.textContent !== word) this.state.textContent = word;
    if (this.hint.textContent !== fitting) this.hint.textContent = fitting;
    const active = !['ready', 'ended'].includes(state);
    document.body.toggleAttribute('data-talking', active || !session.conversation.empty);
    this.levels.hidden = !active;
    buttons.start.hidden = active;
    buttons.start.lastElementChild.textContent = state === 'ended' ? 'Talk again' : 'Start talking';
    this.#showMicrophone(active);
    buttons.interrupt.hidden = !active;
    buttons.interrupt.disabled = !session.interruptible;
    buttons.end.hidden = !active;
    seeds.state = state;
    seeds.analysers = {
      you: session.sound.microphone?.analyser ?? null,
      assistant: session.sound.speaker?.analyser ?? null,
    };
  }

  #showMicrophone(active) {
    const { mute, hold } = this.buttons;
    const { microphoneOpen, muted, pushToTalk, held } = this.session;
    hold.hidden = !(active && pushToTalk && microphoneOpen);
    hold.setAttribute('aria-pressed', held);
    mute.hidden = !active || !hold.hidden;
    mute.dataset.on = microphoneOpen && !muted;
    if (microphoneOpen) mute.setAttribute('aria-pressed', muted);
    else mute.removeAttribute('aria-pressed');
    // A button that says whether it is pressed keeps its name.
    mute.lastElementChild.textContent = microphoneOpen ? 'Mute' : 'Use voice';
  }

  #level(levels) {
    for (const [side, rms] of Object.entries(levels)) {
      this.meters[side].show(rms);
      document.body.dataset[`${side}Rms`] = rms.toFixed(5);
    }
  }

  #played({ type, answer, position }) {
    if (answer === null) return;
    if (type === 'flushed') this.seeds.cut();
    if (type !== 'position') document.body.dataset.playback = type;
    document.body.dataset.playbackAnswer = answer;
    document.body.dataset.playbackSamples = position;
  }
}
