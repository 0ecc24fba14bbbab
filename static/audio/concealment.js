/**
 * Bridges a hole in speech: the last pitch period goes on, again and again, and fades away.
 *
 * After the idea of ITU-T G.711, appendix I: what is repeated ends as it begins, so it has no seam, and the first
 * milliseconds bend from where the sound broke off. A short hole is hardly heard; a long one becomes silence softly.
 */

const LOWEST_HZ = 75;
const HIGHEST_HZ = 400;
const UNVOICED_MS = 10; // is repeated of a sound without pitch
const STEADY_MS = 12;
const FADE_MS = 60; // to silence, from where the sound broke off
const BEND_MS = 2;

/** Milliseconds of the past that are looked at. */
export const HISTORY_MS = 40;

/**
 * The length of one period at the end of a sound, in samples.
 * @param {Float32Array} past `HISTORY_MS` of it
 * @param {number} rate samples a second
 */
export function pitchPeriod(past, rate) {
  const shortest = Math.floor(rate / HIGHEST_HZ);
  const longest = Math.min(Math.ceil(rate / LOWEST_HZ), past.length >> 1);
  const window = past.length - longest;
  let best = { period: Math.round((UNVOICED_MS * rate) / 1000), likeness: 0.4 };
  const step = 2; // every other sample is enough to find a pitch, and this runs in the audio thread
  for (let period = shortest; period <= longest; period += 1) {
    let [both, now, then] = [0, 1e-9, 1e-9];
    for (let i = past.length - window; i < past.length; i += step) {
      both += past[i] * past[i - period];
      now += past[i] * past[i];
      then += past[i - period] * past[i - period];
    }
    const likeness = both / Math.sqrt(now * then);
    // A multiple of the period is as alike as the period: the shorter one is taken unless the longer is clearly better.
    if (likeness > best.likeness * 1.02) best = { period, likeness };
  }
  return Math.min(best.period, past.length >> 1);
}

export class Concealment {
  /**
   * @param {Float32Array} past the last `HISTORY_MS` that sounded; all there is where that is less
   * @param {number} rate samples a second
   */
  constructor(past, rate) {
    this.at = 0;
    this.steady = (STEADY_MS * rate) / 1000;
    this.end = Math.round((FADE_MS * rate) / 1000);
    const { length } = past;
    if (length < rate / 100) {
      this.cycle = new Float32Array(1);
      return;
    }
    const period = pitchPeriod(past, rate);
    this.cycle = past.slice(length - period);
    const overlap = Math.min(period >> 2, length - period);
    for (let i = 0; i < overlap; i += 1) {
      const share = (i + 1) / overlap; // towards what came before the cycle: its end then leads to its beginning
      const end = period - overlap + i;
      this.cycle[end] = (1 - share) * past[length - overlap + i] + share * past[length - period - overlap + i];
    }
    this.bend = Math.round((BEND_MS * rate) / 1000);
    this.jump = 2 * past[length - 1] - past[length - 2] - this.cycle[0];
  }

  /** Whether it has faded away. */
  get over() {
    return this.at >= this.end;
  }

  /** The next sample. */
  next() {
    const { at, end, steady, cycle } = this;
    if (at >= end) return 0;
    const gain = at < steady ? 1 : 0.5 + 0.5 * Math.cos((Math.PI * (at - steady)) / (end - steady));
    const bent = at < this.bend ? this.jump * (1 - at / this.bend) : 0;
    this.at += 1;
    return gain * (cycle[at % cycle.length] + bent);
  }
}
