/** One answer's words: said, coming, or, once it is interrupted, struck out from where it was cut. */

const SPACELESS = '\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Thai}';
const PIECES = new RegExp(`\\s+|[${SPACELESS}]|[^\\s${SPACELESS}]+`, 'gu');

export class Words {
  constructor() {
    this.element = document.createElement('span');
    this.cut = document.createElement('span');
    this.cut.className = 'cut';
    this.words = []; // {span, begin, end}, in characters of the text
    this.text = '';
  }

  /**
   * @param {string} text all that is known of the answer
   * @param {number} spoken characters of it that were said
   * @param {boolean} interrupted
   */
  show(text, spoken, interrupted) {
    if (text !== this.text) this.#lay(text);
    let cutAt = null;
    for (const word of this.words) {
      // While it goes on, a word that has begun counts as said; once it is cut, a word that was not finished does not.
      const said = interrupted ? word.end <= spoken : word.begin < spoken;
      const state = said ? 'said' : interrupted ? 'unsaid' : 'coming';
      if (word.span.className !== state) word.span.className = state;
      if (state === 'unsaid') cutAt ??= word.span;
    }
    if (cutAt) {
      if (this.cut.nextSibling !== cutAt) cutAt.before(this.cut);
    } else {
      this.cut.remove();
    }
  }

  /** Only what is new is laid out; the words before stay the elements they were. */
  #lay(text) {
    const kept = text.startsWith(this.text) ? this.words.slice(0, -1) : []; // the last one may have grown
    const last = kept[kept.length - 1];
    const from = last?.end ?? 0;
    const rest = () => (last ? last.span.nextSibling : this.element.firstChild);
    while (rest()) rest().remove();
    this.words = kept;
    let end = from;
    const nodes = [];
    for (const [piece] of text.slice(from).matchAll(PIECES)) {
      const begin = end;
      end += piece.length;
      if (/^\s/.test(piece)) {
        nodes.push(document.createTextNode(piece));
        continue;
      }
      const span = document.createElement('span');
      span.textContent = piece;
      nodes.push(span);
      this.words.push({ span, begin, end });
    }
    this.element.append(...nodes);
    this.text = text;
  }
}
