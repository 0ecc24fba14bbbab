/** Everything that sounds: one audio context with its microphone and its loudspeaker, built when first needed. */

import { Microphone } from './microphone.js';
import { Speaker } from './speaker.js';

/** There can be no sound; `code` is a key of the sentences in `problems.js`. */
export class SoundError extends Error {
  constructor(code, cause) {
    super(`sound: ${code}`, { cause });
    this.code = code;
  }
}

export class Sound {
  /**
   * @param {{onFrame: (frame: {pcm: ArrayBuffer, rms: number}) => void, onLost: () => void,
   *   onReport: (report: object) => void}} handlers see `Microphone` and `Speaker`
   */
  constructor(handlers) {
    this.handlers = handlers;
    this.context = null;
    this.speaker = null;
    this.microphone = null;
    this.loading = null; // the playback worklet's promise
  }

  /** Get ready to play and to listen; call from a click. @throws {SoundError} */
  async open() {
    // Worklets, too, are for secure pages only.
    if (!window.isSecureContext) throw new SoundError('insecure');
    if (!window.AudioWorkletNode) throw new SoundError('browser');
    if (!this.context) this.#build();
    this.loading ??= this.speaker.open();
    try {
      await Promise.all([this.loading, this.context.resume()]);
    } catch (error) {
      this.context.close(); // a context never asks again for a worklet that it could not load
      this.context = this.speaker = this.microphone = this.loading = null;
      throw new SoundError('server_gone', error);
    }
  }

  resume() {
    if (this.context?.state !== 'running') this.context?.resume();
  }

  #build() {
    this.context = new AudioContext({ latencyHint: 'interactive' });
    this.speaker = new Speaker(this.context, this.handlers);
    this.microphone = new Microphone(this.context, this.handlers);
  }
}
