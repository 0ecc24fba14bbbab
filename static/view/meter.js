/** A bar that shows how loud a sound is, to eyes at once and to screen readers twice a second. */

import { meterLevel } from '../audio/pcm.js';

const ARIA_EVERY_MS = 500;

export class Meter {
  /** @param {string} id of an element with role meter and one child, the bar */
  constructor(id) {
    this.element = document.getElementById(id);
    this.bar = this.element.firstElementChild;
    this.toldAt = 0;
  }

  /** @param {number} rms @returns {number} what is shown, 0 to 1 */
  show(rms) {
    const level = meterLevel(rms);
    this.bar.style.setProperty('--level', level.toFixed(3));
    if (performance.now() - this.toldAt > ARIA_EVERY_MS) {
      this.element.setAttribute('aria-valuenow', Math.round(100 * level));
      this.toldAt = performance.now();
    }
    return level;
  }
}
