/** The dialog in which everything can be chosen; each change holds at once. */

import { listMicrophones } from '../audio/microphone.js';
import { LevelTest } from './level-test.js';
import { dialog } from './dialogs.js';
import { PERSONAS, SILENCE_MS } from '../settings.js';

const LISTS = { speed: Number, mode: String, eagerness: String, persona: String };
const PROMPT_PAUSE_MS = 600; // of typing, before a persona in one's own words is taken

export class SettingsDialog {
  /** @param {import('../settings.js').Settings} settings @param {import('../session.js').Session} session */
  constructor(settings, session) {
    this.settings = settings;
    const at = (id) => document.getElementById(id);
    this.dialog = dialog('settings');
    this.device = at('device');
    this.volume = at('volume');
    this.silence = at('silence');
    for (const name in LISTS) this[name] = at(name);
    this.personaPrompt = at('persona-prompt');
    this.ownPrompt = at('own-prompt');
    this.ownPromptField = at('own-prompt-field');
    this.shown = { volume: at('volume-shown'), silence: at('silence-shown') };
    new LevelTest(session, this.dialog, () => this.#listDevices());
    this.#fill();
    this.#listen();
    at('open-settings').addEventListener('click', () => this.#open());
  }

  #fill() {
    Object.assign(this.silence, { min: SILENCE_MS.least, max: SILENCE_MS.most, step: SILENCE_MS.step });
    this.persona.replaceChildren(...PERSONAS.map(({ id, name }) => new Option(name, id)));
    this.volume.value = Math.round(100 * this.settings.get('volume'));
    this.silence.value = this.settings.get('silenceMs');
    for (const name in LISTS) this[name].value = this.settings.get(name);
    this.ownPrompt.value = this.settings.get('ownPrompt');
    this.#show();
  }

  #listen() {
    const { settings } = this;
    const choose = (element, event, name, read) =>
      element.addEventListener(event, () => {
        settings.set(name, read(element.value));
        this.#show();
      });
    choose(this.device, 'change', 'deviceId', String);
    choose(this.volume, 'input', 'volume', (value) => Number(value) / 100);
    choose(this.silence, 'change', 'silenceMs', Number);
    for (const name in LISTS) choose(this[name], 'change', name, LISTS[name]);
    this.silence.addEventListener('input', () => this.#show());
    let pause;
    const keepPrompt = () => {
      clearTimeout(pause);
      settings.set('ownPrompt', this.ownPrompt.value);
    };
    this.ownPrompt.addEventListener('input', () => {
      clearTimeout(pause);
      pause = setTimeout(keepPrompt, PROMPT_PAUSE_MS);
    });
    this.dialog.addEventListener('close', keepPrompt);
    navigator.mediaDevices?.addEventListener?.('devicechange', () => this.#listDevices());
  }

  #show() {
    this.shown.volume.textContent = `${this.volume.value} %`;
    const seconds = `${(this.silence.value / 1000).toFixed(2).replace(/0$/, '')} s`;
    this.shown.silence.textContent = seconds;
    this.silence.setAttribute('aria-valuetext', seconds);
    const bySilence = this.eagerness.value === 'off';
    for (const id of ['silence-field', 'silence-help']) document.getElementById(id).hidden = !bySilence;
    const { prompt } = PERSONAS.find(({ id }) => id === this.persona.value);
    this.personaPrompt.textContent = prompt ? `“${prompt}”` : prompt === '' ? 'The server’s own instructions.' : '';
    this.personaPrompt.hidden = prompt === null;
    this.ownPromptField.hidden = prompt !== null;
  }

  async #open() {
    this.dialog.showModal();
    await this.#listDevices();
  }

  async #listDevices() {
    const chosen = this.settings.get('deviceId');
    const options = (await listMicrophones()).map(({ id, name }) => new Option(name, id));
    if (chosen && !options.some(({ value }) => value === chosen)) options.push(new Option('Not connected now', chosen));
    this.device.replaceChildren(new Option('The usual one', ''), ...options);
    this.device.value = chosen;
  }
}
