/** One calm notice at a time, with at most one thing to do. */

import { problem } from '../problems.js';

export class Notice {
  /** @param {HTMLElement} element @param {(code: string) => void} onAction */
  constructor(element, onAction) {
    this.element = element;
    this.title = element.querySelector('.notice-title');
    this.text = element.querySelector('.notice-text');
    this.action = element.querySelector('.notice-action');
    this.code = null;
    this.action.addEventListener('click', () => {
      const { code } = this;
      this.clear([code]);
      onAction(code);
    });
  }

  show(code, text) {
    const shown = problem(code, text);
    this.code = code;
    this.element.dataset.code = code;
    this.element.hidden = false;
    this.title.textContent = shown.title;
    this.text.textContent = shown.text;
    this.action.hidden = !shown.action;
    this.action.textContent = shown.action ?? '';
  }

  /** Take it away if it is about one of these. */
  clear(codes) {
    if (!codes.includes(this.code)) return;
    this.code = null;
    delete this.element.dataset.code;
    this.element.hidden = true;
  }
}
