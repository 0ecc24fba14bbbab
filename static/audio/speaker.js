/** Plays answers that come as 24 kHz PCM16, and says how far they have really been heard. */

export const ANSWER_RATE = 24000;
// Firefox on Linux may lock up for good when it is asked for its latency as it calls for sound.
const LATENCY_LOCKS = /Linux.*Firefox/.test(navigator.userAgent);

export class Speaker {
  /**
   * @param {AudioContext} context
   * @param {{onReport: (report: {type: string, answer: number|null, position: number, heard: number, rms: number}) => void}} handlers
   *   `position`: 24 kHz samples given to the loudspeaker; `heard`: less what the device still holds back
   */
  constructor(context, handlers) {
    this.context = context;
    this.handlers = handlers;
    this.node = null;
    this.volume = new GainNode(context);
    this.analyser = new AnalyserNode(context, { fftSize: 1024, smoothingTimeConstant: 0.7 });
    this.volume.connect(context.destination);
  }

  /** Load the worklet; call before anything else, once. */
  async open() {
    await this.context.audioWorklet.addModule(new URL('./playback-worklet.js', import.meta.url));
    this.node = new AudioWorkletNode(this.context, 'playback', { numberOfInputs: 0, outputChannelCount: [1] });
    this.node.port.onmessage = ({ data }) => this.#report(data);
    this.node.connect(this.analyser).connect(this.volume);
  }

  /** Seconds that the device holds back before it sounds; 0 where that is not known. */
  get heldS() {
    return (!LATENCY_LOCKS && this.context.outputLatency) || 0;
  }

  /** @param {number} answer its id; what was left of the last one fades out @param {number} atMs where it goes on */
  begin(answer, atMs = 0) {
    this.node.port.postMessage({ type: 'begin', answer, from: Math.round((atMs * ANSWER_RATE) / 1000) });
  }

  /** @param {ArrayBuffer} pcm given away */
  push(pcm) {
    this.node.port.postMessage({ type: 'audio', pcm }, [pcm]);
  }

  /** Nothing more comes of this answer. */
  end() {
    this.node.port.postMessage({ type: 'end' });
  }

  /** Fall silent now; a `flushed` report follows. */
  flush() {
    this.node?.port.postMessage({ type: 'flush' });
  }

  /** @param {number} share 0 to 1 */
  setVolume(share) {
    this.volume.gain.setTargetAtTime(share * share, this.context.currentTime, 0.02);
  }

  #report(report) {
    const held = report.type === 'finished' ? 0 : Math.round(this.heldS * ANSWER_RATE);
    this.handlers.onReport({ ...report, heard: Math.max(0, report.position - held) });
  }
}
