/** The microphone, as frames of 16 kHz PCM16. */

export const MICROPHONE_RATE = 16000;
export const FRAME_MS = 20;

/** Why there is no microphone: `code` is a key of the sentences in `problems.js`. */
export class MicrophoneError extends Error {
  constructor(code, cause) {
    super(`microphone: ${code}`, { cause });
    this.code = code;
  }
}

const CODES = {
  NotAllowedError: 'microphone_refused',
  SecurityError: 'microphone_refused',
  NotFoundError: 'microphone_missing',
  OverconstrainedError: 'microphone_missing',
  NotReadableError: 'microphone_taken',
  AbortError: 'microphone_taken',
};

export class Microphone {
  /**
   * @param {AudioContext} context
   * @param {{onFrame: (frame: {pcm: ArrayBuffer, rms: number}) => void, onLost: () => void}} handlers
   */
  constructor(context, handlers) {
    this.context = context;
    this.handlers = handlers;
    this.stream = null;
    this.analyser = null;
  }

  get open() {
    return this.stream !== null;
  }

  /** Ask for the microphone and let it run. @param {string} deviceId '' for the usual one */
  async start(deviceId) {
    if (!window.isSecureContext || !navigator.mediaDevices) throw new MicrophoneError('insecure');
    this.stop();
    const stream = await this.#ask(deviceId);
    await this.context.audioWorklet.addModule(new URL('./capture-worklet.js', import.meta.url));
    this.stream = stream;
    this.source = this.context.createMediaStreamSource(stream);
    this.analyser = new AnalyserNode(this.context, { fftSize: 1024, smoothingTimeConstant: 0.6 });
    this.node = new AudioWorkletNode(this.context, 'capture', { numberOfOutputs: 0 });
    this.node.port.onmessage = ({ data }) => this.handlers.onFrame(data);
    this.source.connect(this.analyser).connect(this.node);
    stream.getAudioTracks()[0].addEventListener('ended', () => {
      if (this.stream === stream) this.handlers.onLost();
    });
  }

  /** Silence what is sent; the stream of frames goes on, so the server's clock does too. */
  set muted(muted) {
    for (const track of this.stream?.getAudioTracks() ?? []) track.enabled = !muted;
  }

  stop() {
    if (!this.stream) return;
    this.node.port.postMessage({ type: 'stop' });
    this.node.port.onmessage = null;
    this.source.disconnect();
    this.analyser.disconnect();
    for (const track of this.stream.getTracks()) track.stop();
    this.stream = null;
    this.analyser = null;
  }

  async #ask(deviceId) {
    const usual = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
    try {
      const audio = deviceId ? { ...usual, deviceId: { exact: deviceId } } : usual;
      return await navigator.mediaDevices.getUserMedia({ audio });
    } catch (error) {
      if (deviceId && (error.name === 'OverconstrainedError' || error.name === 'NotFoundError')) return this.#ask('');
      throw new MicrophoneError(CODES[error.name] ?? 'microphone_taken', error);
    }
  }
}

/** Microphones that the browser names; names come once the microphone has been allowed. */
export async function listMicrophones() {
  if (!navigator.mediaDevices?.enumerateDevices) return [];
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices
    .filter((device) => device.kind === 'audioinput' && device.deviceId && device.deviceId !== 'default')
    .map((device, index) => ({ id: device.deviceId, name: device.label || `Microphone ${index + 1}` }));
}
