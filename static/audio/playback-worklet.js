/**
 * Runs in the audio thread: 24 kHz PCM16 of an answer, in bursts → the loudspeaker at any rate, evenly.
 *
 * In: {type: 'begin', answer, from} · {type: 'audio', pcm} · {type: 'end'} · {type: 'flush'}.
 * Out: {type: 'started'|'starved'|'finished'|'flushed'|'position', answer, position, rms}; `position` counts samples of
 * the answer at 24 kHz that were given to the loudspeaker, and begins `from` where the answer goes on.
 */

import { JitterBuffer } from './jitter-buffer.js';
import { floatFromPcm16 } from './pcm.js';
import { Resampler } from './resampler.js';

const WIRE_RATE = 24000;
const REPORT_MS = 50;

class PlaybackProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(WIRE_RATE, sampleRate);
    this.buffer = new JitterBuffer(sampleRate);
    this.answer = null;
    this.from = 0;
    this.received = 0;
    this.squares = 0;
    this.counted = 0;
    this.quiet = true;
    this.reportEvery = Math.round((REPORT_MS * sampleRate) / 1000);
    this.port.onmessage = ({ data }) => this[`on_${data.type}`](data);
  }

  on_begin({ answer, from }) {
    if (this.buffer.busy) this.on_flush();
    this.answer = answer;
    this.from = from;
    this.received = 0;
    this.resampler.reset();
    this.buffer.begin();
  }

  on_audio({ pcm }) {
    if (this.answer === null) return;
    const samples = floatFromPcm16(pcm);
    this.received += samples.length;
    this.buffer.push(this.resampler.process(samples));
  }

  on_end() {
    if (this.answer === null) return;
    this.buffer.push(this.resampler.flush());
    this.buffer.end();
  }

  on_flush() {
    if (this.answer === null) return;
    const position = this.#atWireRate(this.buffer.flush());
    this.port.postMessage({ type: 'flushed', answer: this.answer, position, rms: 0 });
    this.answer = null;
  }

  process(_, [[output, ...others]]) {
    const news = this.buffer.read(output);
    for (const other of others) other.set(output);
    for (let i = 0; i < output.length; i += 1) this.squares += output[i] * output[i];
    this.counted += output.length;
    if (news === 'finished') {
      this.#report('finished', this.from + this.received);
      this.answer = null;
    } else if (news) {
      this.#report(news, this.#atWireRate(this.buffer.position));
    } else if (this.counted >= this.reportEvery) {
      this.#report('position', this.#atWireRate(this.buffer.position));
    }
    return true;
  }

  #atWireRate(samples) {
    return this.from + Math.min(this.received, Math.round((samples * WIRE_RATE) / sampleRate));
  }

  /** One report in silence is enough: it brings the meter to rest. */
  #report(type, position) {
    const rms = Math.sqrt(this.squares / this.counted);
    const quiet = type === 'position' && this.answer === null && rms === 0;
    if (!(quiet && this.quiet)) this.port.postMessage({ type, answer: this.answer, position, rms });
    this.quiet = quiet;
    this.squares = 0;
    this.counted = 0;
  }
}

registerProcessor('playback', PlaybackProcessor);
