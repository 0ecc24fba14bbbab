/**
 * Holds an answer that arrives in bursts and gives it out evenly, without a click.
 *
 * Sound begins when `leadMs` of it is there, or all of it. When it runs short the sound fades out, and goes on from the
 * very same sample with a fade-in once there is more; each time that happens the lead grows. `flush()` fades out within
 * a few milliseconds and forgets the rest. All counts are samples at the rate of the loudspeaker.
 */

const FADE_MS = 6;
const LEAD_GROWTH = 1.6;

export class JitterBuffer {
  /**
   * @param {number} rate samples a second of what is pushed and read
   * @param {{leadMs?: number, maxLeadMs?: number}} [options]
   */
  constructor(rate, { leadMs = 80, maxLeadMs = 480 } = {}) {
    this.rate = rate;
    this.fade = Math.max(1, Math.round((FADE_MS * rate) / 1000));
    this.lead = Math.max(2 * this.fade, Math.round((leadMs * rate) / 1000));
    this.maxLead = Math.max(this.lead, Math.round((maxLeadMs * rate) / 1000));
    this.samples = new Float32Array(rate);
    this.tail = new Float32Array(0);
    this.tailRead = 0;
    this.starved = 0;
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
    if (this.state === 'pausing' && this.available > this.lead) this.state = 'playing';
  }

  /** Nothing more comes: play what is there to its end. */
  end() {
    if (this.state === 'idle') return;
    this.ended = true;
    if (this.state === 'pausing') this.state = 'playing';
  }

  /** Stop: fade out what is sounding, forget the rest. @returns {number} the position where it stopped */
  flush() {
    const position = this.given;
    if (this.gain > 0) {
      const tail = this.samples.slice(this.cursor, Math.min(this.filled, this.cursor + this.fade));
      for (let i = 0; i < tail.length; i += 1) {
        tail[i] *= smooth(this.gain * (1 - (i + 1) / tail.length));
      }
      this.tail = tail;
      this.tailRead = 0;
    }
    this.#forget();
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
    }
    if (this.state === 'playing' && !this.ended && this.available < this.fade + output.length) {
      this.state = 'pausing';
      this.resumeAt = this.cursor;
      this.resumeGiven = this.given;
    }
    if (this.state === 'playing' || this.state === 'pausing') news = this.#play(output) ?? news;
    for (let i = 0; i < output.length && this.tailRead < this.tail.length; i += 1, this.tailRead += 1) {
      output[i] += this.tail[this.tailRead];
    }
    return news;
  }

  #play(output) {
    const change = 1 / this.fade;
    for (let i = 0; i < output.length; i += 1) {
      if (this.available === 0) return this.#halt();
      const falling = this.state === 'pausing' || (this.ended && this.available <= this.fade);
      this.gain = falling ? Math.max(0, this.gain - change) : Math.min(1, this.gain + change);
      if (this.state === 'pausing' && this.gain === 0) return this.#halt();
      output[i] = this.samples[this.cursor] * smooth(this.gain);
      this.cursor += 1;
      this.given += 1;
    }
    return null;
  }

  /** The end of a fade: the answer is over, or waits for more. */
  #halt() {
    if (this.ended) {
      this.#forget({ keepPosition: true });
      return 'finished';
    }
    this.cursor = this.resumeAt; // what faded out is given again, so nothing is lost
    this.given = this.resumeGiven;
    this.gain = 0;
    this.state = 'filling';
    this.lead = Math.min(this.maxLead, Math.round(this.lead * LEAD_GROWTH));
    this.starved += 1;
    return 'starved';
  }

  #forget({ keepPosition = false } = {}) {
    this.state = 'idle';
    this.ended = false;
    this.cursor = 0;
    this.filled = 0;
    this.resumeAt = 0;
    this.resumeGiven = 0;
    this.gain = 0;
    if (!keepPosition) this.given = 0;
  }

  #makeRoom(count) {
    const keepFrom = this.state === 'pausing' ? this.resumeAt : this.cursor;
    if (this.filled + count <= this.samples.length) return;
    const kept = this.filled - keepFrom;
    const target = kept + count > this.samples.length / 2 ? new Float32Array(2 * (kept + count)) : this.samples;
    target.set(this.samples.subarray(keepFrom, this.filled));
    this.samples = target;
    this.cursor -= keepFrom;
    this.resumeAt -= keepFrom;
    this.filled = kept;
  }
}

/** A linear ramp, made smooth at both ends. */
function smooth(x) {
  return x * x * (3 - 2 * x);
}
