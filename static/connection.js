/** One WebSocket that comes back by itself: half a second, then longer and longer pauses, up to 15 s. */

import { parse } from './protocol.js';

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15000;
const HELD_BACK_BYTES = 320_000; // ten seconds of microphone: beyond it the line is too slow, and frames are dropped

/**
 * Events: `up` (the socket is open), `message` (detail: a message of the server), `audio` (detail: ArrayBuffer),
 * `down` (detail: {failures, pauseMs}: how often in a row it failed, and when the next attempt comes).
 */
export class Connection extends EventTarget {
  /**
   * @param {string} url ws: or wss:
   * @param {string|null} key for a server that wants one; a browser can send it as a subprotocol only
   */
  constructor(url, key) {
    super();
    this.url = url;
    this.protocols = key ? ['omni', `openai-insecure-api-key.${key}`] : [];
    this.socket = null;
    this.wanted = false;
    this.failures = 0;
    this.timer = null;
    window.addEventListener('online', () => this.retry());
  }

  get up() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  open() {
    if (this.wanted) return;
    this.wanted = true;
    this.failures = 0;
    this.#connect();
  }

  /** Do not wait for the end of the pause. */
  retry() {
    if (this.wanted && !this.socket) this.#connect();
  }

  close() {
    this.wanted = false;
    clearTimeout(this.timer);
    this.socket?.close(1000);
    this.socket = null;
  }

  /** @param {object} message @returns {boolean} whether it could be sent */
  send(message) {
    if (!this.up) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** @param {ArrayBuffer} pcm */
  sendAudio(pcm) {
    if (this.up && this.socket.bufferedAmount < HELD_BACK_BYTES) this.socket.send(pcm);
  }

  /** It works: the next failure starts from a short pause again. */
  healthy() {
    this.failures = 0;
  }

  /** The server asks for patience: the next pause is at least two seconds or so. */
  wait() {
    this.failures = Math.max(this.failures, 2);
  }

  #connect() {
    clearTimeout(this.timer);
    const socket = new WebSocket(this.url, this.protocols);
    socket.binaryType = 'arraybuffer';
    this.socket = socket;
    socket.onopen = () => this.#tell('up');
    socket.onmessage = ({ data }) => {
      if (this.socket !== socket) return;
      if (typeof data === 'string') this.#tell('message', parse(data));
      else this.#tell('audio', data);
    };
    socket.onclose = () => {
      if (this.socket === socket) this.#lost();
    };
  }

  #lost() {
    this.socket = null;
    if (!this.wanted) return;
    const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.failures);
    const pauseMs = Math.round(longest * (0.75 + Math.random() / 4));
    this.failures += 1;
    this.timer = setTimeout(() => this.#connect(), pauseMs);
    this.#tell('down', { failures: this.failures, pauseMs });
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
