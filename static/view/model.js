/** Which model answers, under the page's name; where there are several, the settings have a list of them. */

export class ModelView {
  /** @param {import('../models.js').Models} models */
  constructor(models) {
    const at = (id) => document.getElementById(id);
    this.models = models;
    this.line = at('answered-by');
    this.name = at('model-shown');
    this.field = at('model-field');
    this.help = at('model-help');
    this.list = at('model');
    models.addEventListener('change', () => this.#show());
    this.list.addEventListener('change', () => models.settings.set('model', this.list.value));
  }

  #show() {
    const { names, answering } = this.models;
    this.line.hidden = !answering;
    this.name.textContent = this.line.title = answering;
    this.field.hidden = this.help.hidden = names.length < 2;
    this.list.replaceChildren(...names.map((name) => new Option(name)));
    this.list.value = answering;
  }
}
