/** The state in words, the levels of both sides, and the buttons that fit the moment. */

import { meterLevel } from '../audio/pcm.js';

const ARIA_EVERY_MS = 500;

const WORDS = {
  ready: ['Talk to it', 'Ask out loud. The answer is spoken while it is still being thought.'],
  connecting: ['Connecting', 'One moment.'],
  reconnecting: ['Reconnecting', 'The connection was lost. The conversation will go on where it stopped.'],
  waiting: ['Ready', 'Type a question, or turn on the microphone.'],
  listening: ['Listening', 'Speak whenever you like.'],
  muted: ['Muted', 'It cannot hear you now.'],
  hearing: ['Hearing you', 'It answers when you pause.'],
  thinking: ['Thinking', 'The answer begins in a moment.'],
  speaking: ['Speaking', 'You can talk over it.'],
  ended: ['Until next time', 'What was said stays here until you leave the page.'],
};

export class Stage {
  /** @param {import('../session.js').Session} session @param {import('./orb.js').Orb} orb */
  constructor(session, orb) {
    this.session = session;
    this.orb = orb;
    this.state = document.getElementById('state');
    this.hint = document.getElementById('hint');
    this.levels = document.getElementById('levels');
    this.meters = { you: meter('you-level'), assistant: meter('assistant-level') };
    this.buttons = Object.fromEntries(
      ['start', 'mute', 'interrupt', 'end'].map((name) => [name, document.getElementById(name)]),
    );
    this.#listen();
  }

  #listen() {
    const { session, buttons } = this;
    buttons.start.addEventListener('click', () => this.#start());
    buttons.mute.addEventListener('click', () => {
      if (session.microphoneOpen) session.setMuted(!session.muted);
      else session.start();
    });
    buttons.interrupt.addEventListener('click', () => session.interrupt());
    buttons.end.addEventListener('click', () => {
      session.end();
      buttons.start.focus();
    });
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && !document.querySelector('dialog[open]')) session.interrupt();
    });
    session.addEventListener('state', ({ detail }) => this.#show(detail));
    session.addEventListener('levels', ({ detail }) => this.#level(detail));
    session.addEventListener('playback', ({ detail }) => this.#played(detail));
  }

  async #start() {
    const { start, mute } = this.buttons;
    start.disabled = true;
    try {
      await this.session.start();
    } finally {
      start.disabled = false;
    }
    if (start.hidden && document.activeElement === document.body) mute.focus({ focusVisible: false });
  }

  #show(state) {
    const { session, buttons, orb } = this;
    const [word, hint] = WORDS[state];
    document.body.dataset.state = state;
    if (this.state.textContent !== word) this.state.textContent = word;
    if (this.hint.textContent !== hint) this.hint.textContent = hint;
    const active = !['ready', 'ended'].includes(state);
    document.body.toggleAttribute('data-talking', active || !session.conversation.empty);
    this.levels.hidden = !active;
    buttons.start.hidden = active;
    buttons.start.lastElementChild.textContent = state === 'ended' ? 'Talk again' : 'Start talking';
    this.#showMicrophone(active);
    buttons.interrupt.hidden = !active;
    buttons.interrupt.disabled = !session.interruptible;
    buttons.end.hidden = !active;
    orb.state = state;
    orb.analysers = {
      you: session.sound.microphone?.analyser ?? null,
      assistant: session.sound.speaker?.analyser ?? null,
    };
  }

  #showMicrophone(active) {
    const { mute } = this.buttons;
    const { microphoneOpen, muted } = this.session;
    mute.hidden = !active;
    mute.dataset.on = microphoneOpen && !muted;
    if (microphoneOpen) mute.setAttribute('aria-pressed', muted);
    else mute.removeAttribute('aria-pressed');
    // A button that says whether it is pressed keeps its name.
    mute.lastElementChild.textContent = microphoneOpen ? 'Mute' : 'Use voice';
  }

  #level(levels) {
    for (const [side, rms] of Object.entries(levels)) {
      const { element, bar } = this.meters[side];
      const level = meterLevel(rms);
      bar.style.setProperty('--level', level.toFixed(3));
      document.body.dataset[`${side}Rms`] = rms.toFixed(5);
      if (performance.now() - this.meters[side].told > ARIA_EVERY_MS) {
        element.setAttribute('aria-valuenow', Math.round(100 * level));
        this.meters[side].told = performance.now();
      }
    }
  }

  #played({ type, answer, position }) {
    if (answer === null) return;
    if (type !== 'position') document.body.dataset.playback = type;
    document.body.dataset.playbackAnswer = answer;
    document.body.dataset.playbackSamples = position;
  }
}

function meter(id) {
  const element = document.getElementById(id);
  return { element, bar: element.firstElementChild, told: 0 };
}
