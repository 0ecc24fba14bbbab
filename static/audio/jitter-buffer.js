/**
 * Holds an answer that arrives in bursts and gives it out evenly, without a click or a hole.
 *
 * Sound begins when a lead of it is there, or all of it. When it runs short, its last pitch periods go on and fade, and
 * it continues from the very next sample once the lead is there again: nothing is left out. The lead follows the line:
 * each hole makes it longer by what was missing, each answer without one a little shorter again. `flush()` fades out
 * within a few milliseconds and forgets the rest. All counts are samples at the rate of the loudspeaker.
 */

import { Concealment, HISTORY_MS } from './concealment.js';

const FADE_MS = 6;
const CALM = 0.85; // of the lead is kept after an answer without a hole

export class JitterBuffer {
  /**
   * @param {number} rate samples a second of what is pushed and read
   * @param {{leadMs?: number, maxLeadMs?: number}} [options]
   */
  constructor(rate, { leadMs = 80, maxLeadMs = 600 } = {}) {
    const samples = (ms) => Math.round((ms * rate) / 1000);
    this.rate = rate;
    this.fade = Math.max(1, samples(FADE_MS));
    this.minLead = Math.max(2 * this.fade, samples(leadMs));
    this.maxLead = Math.max(this.minLead, samples(maxLeadMs));
    this.lead = this.minLead;
    this.history = samples(HISTORY_MS);
    this.samples = new Float32Array(rate);
    this.tail = new Float32Array(0);
    this.tailRead = 0;
    this.starved = 0; // holes, ever
    this.#forget();
  }

  /** Samples given out of this answer so far. */
  get position() {
    return this.given;
  }

  get available() {
    return this.filled - this.cursor;
  }

  /** Whether any of this answer is sounding or still to sound. */
  get busy() {
    return this.state !== 'idle';
  }

  /** A new answer: whatever was left of the last one fades out now. */
  begin() {
    this.flush();
    this.state = 'filling';
  }

  /** More of the answer. */
  push(block) {
    if (this.state === 'idle') this.state = 'filling';
    this.#makeRoom(block.length);
    this.samples.set(block, this.filled);
    this.filled += block.length;
  }

  /** Nothing more comes: play what is there to its end. */
  end() {
    if (this.state !== 'idle') this.ended = true;
  }

  /** Stop: fade out what is sounding, forget the rest. @returns {number} the position where it stopped */
  flush() {
    const position = this.given;
    const tail = new Float32Array(this.fade);
    const rest = this.samples.subarray(this.cursor, Math.min(this.filled, this.cursor + this.fade));
    for (let i = 0; i < tail.length; i += 1) {
      const sounding = this.gain > 0 ? (rest[i] ?? 0) * smooth(this.gain) : 0;
      tail[i] = (sounding + this.#concealed()) * smooth(1 - (i + 1) / tail.length);
    }
    this.#forget();
    this.tail = tail;
    this.tailRead = 0;
    return position;
  }

  /**
   * Fill one block for the loudspeaker.
   * @param {Float32Array} output written entirely
   * @returns {'started'|'starved'|'finished'|null} what happened in it
   */
  read(output) {
    output.fill(0);
    let news = null;
    if (this.state === 'filling' && (this.available >= this.lead || this.ended)) {
      if (this.available > 0 && this.given === 0) news = 'started';
      this.state = 'playing';
      this.#learn();
    }
    for (let i = 0; i < output.length; i += 1) {
      if (this.state === 'playing') {
        if (this.available === 0) news = this.ended ? this.#finish() : this.#starve();
        else output[i] = this.#next();
      }
      output[i] += this.#concealed();
      if (this.tailRead < this.tail.length) {
        output[i] += this.tail[this.tailRead];
        this.tailRead += 1;
      }
    }
    if (this.state === 'filling' && this.concealment) this.missing += output.length;
    return news;
  }

  #next() {
    const change = 1 / this.fade;
    const falling = this.ended && this.available <= this.fade;
    this.gain = falling ? Math.max(0, this.gain - change) : Math.min(1, this.gain + change);
    const sample = this.samples[this.cursor] * smooth(this.gain);
    this.cursor += 1;
    this.given += 1;
    return sample;
  }

  /** What bridges a hole; it goes away while the sound comes back. */
  #concealed() {
    if (!this.concealment) return 0;
    const share = this.state === 'playing' ? 1 - smooth(this.gain) : 1;
    if (this.state === 'playing' && this.gain >= 1) {
      this.concealment = null;
      return 0;
    }
    return this.concealment.next() * share;
  }

  #starve() {
    const past = this.samples.subarray(Math.max(0, this.cursor - Math.min(this.history, this.given)), this.cursor);
    this.concealment = new Concealment(past, this.rate);
    this.gain = 0;
    this.missing = 0;
    this.state = 'filling';
    this.starved += 1;
    this.holes += 1;
    return 'starved';
  }

  /** After a hole: had the lead been longer by what was missing, there had been none. */
  #learn() {
    if (!this.concealment) return;
    this.lead = Math.min(this.maxLead, this.lead + this.missing);
    this.missing = 0;
  }

  #finish() {
    if (this.holes === 0) this.lead = Math.max(this.minLead, Math.round(this.lead * CALM));
    const { concealment } = this;
    this.#forget({ keepPosition: true });
    this.concealment = concealment;
    return 'finished';
  }

  #forget({ keepPosition = false } = {}) {
    this.state = 'idle';
    this.ended = false;
    this.cursor = 0;
    this.filled = 0;
    this.gain = 0;
    this.holes = 0;
    this.missing = 0;
    this.concealment = null;
    if (!keepPosition) this.given = 0;
  }

  /** What has been given out goes, but for the history that a hole would be bridged with. */
  #makeRoom(count) {
    if (this.filled + count <= this.samples.length) return;
    const keepFrom = Math.max(0, this.cursor - this.history);
    const kept = this.filled - keepFrom;
    const target = kept + count > this.samples.length / 2 ? new Float32Array(2 * (kept + count)) : this.samples;
    target.set(this.samples.subarray(keepFrom, this.filled));
    this.samples = target;
    this.cursor -= keepFrom;
    this.filled = kept;
  }
}

/** A linear ramp, made smooth at both ends. */
function smooth(x) {
  return x * x * (3 - 2 * x);
}
