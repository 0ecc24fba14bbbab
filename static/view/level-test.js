/** Whether the chosen microphone hears anything, without a conversation. */

import { Meter } from './meter.js';

const HEARD = 0.45; // of the meter: about -34 dBFS, quiet speech

const SENTENCES = {
  idle: 'Speak while it is tested: the bar should reach the middle.',
  asking: 'Allow the microphone, then speak.',
  silent: 'Nothing heard yet. Speak, or choose another microphone.',
  heard: 'It hears you well.',
  none: 'The microphone could not be opened.',
};

export class LevelTest {
  /**
   * @param {import('../session.js').Session} session
   * @param {HTMLDialogElement} dialog its end is the test's end
   * @param {() => void} onOpen the microphone may be used, so the names of all are known
   */
  constructor(session, dialog, onOpen) {
    this.session = session;
    this.onOpen = onOpen;
    this.button = document.getElementById('test');
    this.result = document.getElementById('test-result');
    this.meter = new Meter('test-level');
    this.running = false;
    this.button.addEventListener('click', () => (this.running ? this.#stop() : this.#start()));
    dialog.addEventListener('close', () => this.#stop());
    session.addEventListener('levels', ({ detail }) => this.#level(detail));
  }

  async #start() {
    this.#show(true, 'asking');
    if (!(await this.session.testMicrophone())) {
      this.#show(false, 'none');
      return;
    }
    if (!this.running) return this.session.endTest(); // given up meanwhile
    this.#say('silent');
    this.onOpen();
  }

  #stop() {
    if (!this.running) return;
    this.#show(false, 'idle');
    this.meter.show(0);
    this.session.endTest();
  }

  #level({ you }) {
    if (this.running && you !== undefined && this.meter.show(you) > HEARD) this.#say('heard');
  }

  #show(running, sentence) {
    this.running = running;
    this.button.setAttribute('aria-pressed', running);
    this.#say(sentence);
  }

  #say(sentence) {
    if (this.result.textContent !== SENTENCES[sentence]) this.result.textContent = SENTENCES[sentence];
  }
}
