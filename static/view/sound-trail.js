/** The last second of sound on both sides, in bands: what sounded now, and what sounded a moment ago. */

const BANDS = 10;
const STEPS = 64;
const STEP_S = 1 / 60;
const HIGHEST_HZ = 6000;
const LOWEST_HZ = 90;

export class SoundTrail {
  constructor() {
    this.sides = { you: side(1), assistant: side(BANDS) };
    this.newest = 0;
    this.passed = 0;
  }

  /**
   * Look at both sounds once more.
   * @param {{you: AnalyserNode|null, assistant: AnalyserNode|null}} analysers
   * @param {number} seconds since the last time
   */
  update(analysers, seconds) {
    for (const [name, { levels, bands }] of Object.entries(this.sides)) {
      const heard = this.#listen(name, analysers[name]);
      for (let band = 0; band < bands; band += 1) {
        const pace = heard[band] > levels[band] ? 30 : 9; // rises at once, sinks slowly
        const change = (heard[band] - levels[band]) * Math.min(1, pace * seconds);
        levels[band] = Math.abs(levels[band] + change) < 0.002 ? 0 : levels[band] + change;
      }
    }
    for (this.passed += seconds; this.passed >= STEP_S; this.passed -= STEP_S) {
      this.newest = (this.newest + 1) % STEPS;
      for (const { levels, bands, past } of Object.values(this.sides)) past.set(levels, this.newest * bands);
    }
  }

  /** Your loudness so many seconds ago, 0 to 1. */
  you(agoS) {
    return this.sides.you.past[this.#step(agoS)];
  }

  /** The assistant's, at a share of its spectrum: 0 the lowest notes, 1 the highest. */
  assistant(agoS, share) {
    const { past } = this.sides.assistant;
    const at = Math.min(BANDS - 1.001, share * (BANDS - 1));
    const low = Math.floor(at);
    const from = this.#step(agoS) * BANDS + low;
    return past[from] + (past[from + 1] - past[from]) * (at - low);
  }

  #step(agoS) {
    return (this.newest - Math.min(STEPS - 1, Math.floor(agoS / STEP_S)) + STEPS) % STEPS;
  }

  /** Bands spaced like notes, each the mean of its bins. */
  #listen(name, analyser) {
    const own = this.sides[name];
    own.heard.fill(0);
    if (!analyser) return own.heard;
    if (own.spectrum.length !== analyser.frequencyBinCount) own.spectrum = new Uint8Array(analyser.frequencyBinCount);
    analyser.getByteFrequencyData(own.spectrum);
    const binHz = analyser.context.sampleRate / analyser.fftSize;
    const edge = (band) => Math.round((LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ) ** (band / own.bands)) / binHz);
    for (let band = 0; band < own.bands; band += 1) {
      const from = Math.max(1, edge(band));
      const to = Math.max(from + 1, edge(band + 1));
      let sum = 0;
      for (let bin = from; bin < to; bin += 1) sum += own.spectrum[bin];
      const level = sum / (to - from) / 255;
      own.heard[band] = own.bands === 1 ? Math.max(0, 2.2 * level - 0.3) : Math.max(0, 1.5 * level - 0.35);
    }
    return own.heard;
  }
}

function side(bands) {
  return {
    bands,
    levels: new Float32Array(bands),
    heard: new Float32Array(bands),
    past: new Float32Array(bands * STEPS),
    spectrum: new Uint8Array(0),
  };
}
