/**
 * Changes the rate of a stream of samples: a polyphase windowed-sinc filter with exact rational steps.
 *
 * Any pair of integer rates; lowering the rate cuts what would alias. However the stream is cut into blocks, the
 * output is the same, sample for sample. Used by both worklets and for saving WAV files.
 */

const ZERO_CROSSINGS = 24; // on each side of a sample, at the lower of the two rates
const KAISER_BETA = 9; // about 90 dB of stop-band
const ROLLOFF = 0.9; // pass-band edge, as a share of the lower Nyquist frequency

/** Modified Bessel function of the first kind, order zero. */
function besselI0(x) {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > 1e-12 * sum; k += 1) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function greatestCommonDivisor(a, b) {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** One filter per output phase: `phases` rows of `2 * half` taps, each row summing to one. */
function designFilters(phases, half, cutoff) {
  const taps = 2 * half;
  const table = new Float32Array(phases * taps);
  const row = new Float64Array(taps);
  const scale = 1 / besselI0(KAISER_BETA);
  for (let phase = 0; phase < phases; phase += 1) {
    let sum = 0;
    for (let tap = 0; tap < taps; tap += 1) {
      const distance = tap - half + 1 - phase / phases;
      const angle = Math.PI * cutoff * distance;
      const sinc = angle === 0 ? 1 : Math.sin(angle) / angle;
      const edge = distance / half;
      const window = Math.abs(edge) < 1 ? besselI0(KAISER_BETA * Math.sqrt(1 - edge * edge)) * scale : 0;
      row[tap] = sinc * window;
      sum += row[tap];
    }
    for (let tap = 0; tap < taps; tap += 1) table[phase * taps + tap] = row[tap] / sum;
  }
  return table;
}

export class Resampler {
  /**
   * @param {number} inputRate samples a second, an integer
   * @param {number} outputRate samples a second, an integer
   */
  constructor(inputRate, outputRate) {
    if (!Number.isInteger(inputRate) || !Number.isInteger(outputRate) || inputRate < 1 || outputRate < 1) {
      throw new RangeError(`Sample rates must be positive integers, not ${inputRate} and ${outputRate}.`);
    }
    const divisor = greatestCommonDivisor(inputRate, outputRate);
    this.phases = outputRate / divisor;
    this.step = inputRate / divisor;
    const ratio = Math.min(1, outputRate / inputRate);
    this.half = Math.ceil(ZERO_CROSSINGS / ratio);
    this.passThrough = inputRate === outputRate;
    this.table = this.passThrough ? null : designFilters(this.phases, this.half, ratio * ROLLOFF);
    this.reset();
  }

  /** Forget everything heard so far. */
  reset() {
    this.pending = new Float32Array(4096);
    this.length = this.half - 1; // silence before the first sample
    this.skip = 0; // input samples to come that no output needs any more
    this.phase = 0;
    this.output = new Float32Array(4096);
  }

  /**
   * Take more input; give all output that is certain now.
   * @param {Float32Array} input
   * @returns {Float32Array} a view that is valid until the next call
   */
  process(input) {
    if (this.passThrough) return input;
    this.#append(input);
    const taps = 2 * this.half;
    const { phases, step, table } = this;
    const wanted = Math.ceil(((input.length + taps) * phases) / step) + 1;
    if (this.output.length < wanted) this.output = new Float32Array(wanted);
    let start = 0;
    let count = 0;
    while (start + taps <= this.length) {
      const row = this.phase * taps;
      let sum = 0;
      for (let tap = 0; tap < taps; tap += 1) sum += this.pending[start + tap] * table[row + tap];
      this.output[count] = sum;
      count += 1;
      this.phase += step;
      start += Math.floor(this.phase / phases);
      this.phase %= phases;
    }
    const used = Math.min(start, this.length);
    this.pending.copyWithin(0, used, this.length);
    this.length -= used;
    this.skip = start - used;
    return this.output.subarray(0, count);
  }

  /** The rest: what is still inside the filter when nothing more comes. Start anew with `reset()`. */
  flush() {
    return this.passThrough ? new Float32Array(0) : this.process(new Float32Array(this.half));
  }

  #append(input) {
    const skipped = Math.min(this.skip, input.length);
    this.skip -= skipped;
    const added = input.length - skipped;
    if (this.length + added > this.pending.length) {
      const grown = new Float32Array(2 * (this.length + added));
      grown.set(this.pending.subarray(0, this.length));
      this.pending = grown;
    }
    this.pending.set(skipped ? input.subarray(skipped) : input, this.length);
    this.length += added;
  }
}

/** Resample a whole recording at once. */
export function resample(samples, inputRate, outputRate) {
  if (inputRate === outputRate) return samples;
  const resampler = new Resampler(inputRate, outputRate);
  const body = Float32Array.from(resampler.process(samples));
  const rest = resampler.flush();
  const joined = new Float32Array(Math.round((samples.length * outputRate) / inputRate));
  joined.set(body.subarray(0, joined.length));
  joined.set(rest.subarray(0, Math.max(0, joined.length - body.length)), Math.min(body.length, joined.length));
  return joined;
}
