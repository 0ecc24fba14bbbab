/** How fast it answers, as measured here: the last first sound, the median, and a line of the latest ones. */

const SHOWN = 24;
const [WIDTH, HEIGHT] = [240, 48];

export class FiguresPanel {
  /**
   * @param {import('../conversation.js').Conversation} conversation
   * @param {import('../settings.js').Settings} settings
   */
  constructor(conversation, settings) {
    const at = (id) => document.getElementById(id);
    this.parts = { last: at('figure-last'), median: at('figure-median'), factor: at('figure-factor') };
    this.count = at('figure-count');
    this.detail = at('figure-parts');
    this.line = at('sparkline');
    this.conversation = conversation;
    const panel = at('figures');
    const button = at('open-figures');
    const show = (open) => {
      panel.hidden = !open;
      button.setAttribute('aria-expanded', open);
      if (open) this.#update();
    };
    show(settings.get('figures'));
    button.addEventListener('click', () => {
      settings.set('figures', panel.hidden);
      show(panel.hidden);
    });
    conversation.addEventListener('change', () => panel.hidden || this.#update());
    conversation.addEventListener('drop', () => panel.hidden || this.#update());
  }

  #update() {
    const measured = this.conversation.turns.filter(({ delayMs }) => delayMs !== null);
    const totals = measured.map(({ silenceMs, delayMs }) => silenceMs + delayMs);
    const last = measured[measured.length - 1];
    this.parts.last.textContent = last ? seconds(totals[totals.length - 1]) : '–';
    this.parts.median.textContent = last ? seconds(median(totals)) : '–';
    this.count.textContent = totals.length > 1 ? `of ${totals.length}` : '';
    const factor = measured.findLast((turn) => turn.factor !== null)?.factor;
    this.parts.factor.textContent = factor === undefined ? '–' : factor.toFixed(2);
    this.detail.textContent = last ? explain(last) : 'Nothing has been measured yet.';
    this.#draw(measured.slice(-SHOWN), totals);
  }

  /** One bar an answer: the silence that ended the question below, the way to the first sound on top. */
  #draw(turns, totals) {
    const most = Math.max(1000, ...totals.slice(-SHOWN));
    const step = WIDTH / SHOWN;
    const bars = turns.flatMap(({ silenceMs, delayMs }, index) => {
      const [silence, delay] = [silenceMs, delayMs].map((ms) => (ms / most) * HEIGHT);
      const x = index * step;
      return [
        rectangle('silence', x, HEIGHT - silence, step - 2, silence),
        rectangle('way', x, HEIGHT - silence - delay, step - 2, delay),
      ];
    });
    this.line.replaceChildren(...bars);
    const told = totals.slice(-SHOWN).map((ms) => (ms / 1000).toFixed(2));
    this.line.setAttribute('aria-label', told.length ? `First sounds in seconds: ${told.join(', ')}` : 'No answer yet');
  }
}

function explain({ silenceMs, delayMs, serverMs }) {
  const parts = [`Last: ${silenceMs ? `${seconds(silenceMs)} of silence, then ` : ''}${seconds(delayMs)} to the first sound`];
  if (serverMs !== null) parts.push(`of which the server took ${seconds(serverMs)}`);
  return `${parts.join(', ')}.`;
}

function rectangle(name, x, y, width, height) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
  element.setAttribute('class', name);
  Object.entries({ x, y, width, height }).forEach(([key, value]) => element.setAttribute(key, value.toFixed(1)));
  return element;
}

const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
