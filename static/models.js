/** The models that the server has loaded, and which of them answers. */

export class Models extends EventTarget {
  /** Event: `change`. @param {import('./settings.js').Settings} settings */
  constructor(settings) {
    super();
    this.settings = settings;
    this.names = []; // the server's default first; empty while they are unknown
    settings.addEventListener('change', ({ detail }) => detail.name === 'model' && this.#changed());
  }

  /** The name of the model that answers the next question; '' while it is unknown. */
  get answering() {
    return this.settings.get('model') || (this.names[0] ?? '');
  }

  /** Ask the server before there is a conversation. While its models load, it names none. */
  async ask() {
    try {
      const response = await fetch(new URL('ready', document.baseURI), { cache: 'no-store' });
      this.take((await response.json()).models ?? []);
    } catch {
      // It is away: whoever opens a conversation is told.
    }
  }

  /** @param {string[]} names what the server says; a choice that it does not have any more is forgotten */
  take(names) {
    if (!names.length) return;
    this.names = names;
    if (!names.includes(this.settings.get('model'))) this.settings.set('model', '');
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new CustomEvent('change'));
  }
}
