/** Runs in the audio thread: microphone at any rate → 20 ms frames of 16 kHz PCM16, with their loudness. */

import { rootMeanSquare, toPcm16 } from './pcm.js';
import { Resampler } from './resampler.js';

const WIRE_RATE = 16000;
const FRAME_SAMPLES = 320;

class CaptureProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, WIRE_RATE);
    this.mono = new Float32Array(128);
    this.frame = new Float32Array(FRAME_SAMPLES);
    this.filled = 0;
    this.running = true;
    this.port.onmessage = ({ data }) => {
      if (data.type === 'stop') this.running = false;
    };
  }

  process([channels]) {
    if (!this.running) return false;
    if (!channels || channels.length === 0) return true;
    const samples = this.resampler.process(this.#mix(channels));
    for (let i = 0; i < samples.length; i += 1) {
      this.frame[this.filled] = samples[i];
      this.filled += 1;
      if (this.filled === FRAME_SAMPLES) this.#send();
    }
    return true;
  }

  #mix(channels) {
    if (channels.length === 1) return channels[0];
    if (this.mono.length !== channels[0].length) this.mono = new Float32Array(channels[0].length);
    this.mono.fill(0);
    for (const channel of channels) {
      for (let i = 0; i < channel.length; i += 1) this.mono[i] += channel[i] / channels.length;
    }
    return this.mono;
  }

  #send() {
    const view = new DataView(new ArrayBuffer(2 * FRAME_SAMPLES));
    for (let i = 0; i < FRAME_SAMPLES; i += 1) view.setInt16(2 * i, toPcm16(this.frame[i]), true);
    this.port.postMessage({ pcm: view.buffer, rms: rootMeanSquare(this.frame) }, [view.buffer]);
    this.filled = 0;
  }
}

registerProcessor('capture', CaptureProcessor);
