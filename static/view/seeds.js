/**
 * The living shape: a sunflower's head of seeds, drawn from the sound itself.
 *
 * Your loudness runs inwards from the rim, the assistant's spectrum outwards from the middle, so that for a moment the
 * sound can be seen: where a seed is, it shows what sounded so long ago. While an answer is thought about, the angle
 * between one seed and the next drifts, and the spirals form anew. With reduced motion seeds only change their size.
 */

import { SoundTrail } from './sound-trail.js';

const MOST = 420;
const LEAST = 150;
const PIXELS_A_SEED = 180; // of the square around them: a small picture has fewer seeds, not smaller ones
const GOLDEN_ANGLE = Math.PI * (3 - Math.sqrt(5));
const DRIFT = 0.00085; // radians between two seeds, at most, while it thinks
const TRAVEL_S = 0.75; // from the middle to the rim

const MOODS = {
  ready: { size: 0.82, thinking: 0 },
  ended: { size: 0.6, thinking: 0 },
  connecting: { size: 0.6, thinking: 0.4 },
  reconnecting: { size: 0.42, thinking: 0.4 },
  waiting: { size: 0.74, thinking: 0 },
  muted: { size: 0.5, thinking: 0 },
  resting: { size: 0.62, thinking: 0 },
  listening: { size: 0.78, thinking: 0 },
  hearing: { size: 0.66, thinking: 0 },
  thinking: { size: 0.7, thinking: 1 },
  speaking: { size: 0.7, thinking: 0 },
};

export class Seeds {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.paint = canvas.getContext('2d');
    this.trail = new SoundTrail();
    this.analysers = { you: null, assistant: null };
    this.state = 'ready';
    this.size = MOODS.ready.size;
    this.thinking = 0;
    this.shock = 0; // 1 when an answer was just cut, sinking to 0
    this.phase = 0;
    this.turned = 0;
    this.still = window.matchMedia('(prefers-reduced-motion: reduce)');
    for (const query of ['(prefers-color-scheme: dark)', '(forced-colors: active)']) {
      window.matchMedia(query).addEventListener('change', () => this.#readColours());
    }
    new ResizeObserver(() => this.#resize()).observe(canvas);
    this.#readColours();
    this.#resize();
    this.last = performance.now();
    requestAnimationFrame((now) => this.#frame(now));
  }

  /** An answer was cut off: the seeds draw back. */
  cut() {
    this.shock = 1;
  }

  #readColours() {
    const probe = document.createElement('i');
    document.body.append(probe);
    this.colours = ['--seed', '--seed-you'].map((name) => {
      probe.style.color = `var(${name})`; // resolves system colours too
      return getComputedStyle(probe).color;
    });
    probe.remove();
  }

  #resize() {
    const scale = Math.min(2, window.devicePixelRatio || 1);
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    this.canvas.width = Math.round(this.width * scale);
    this.canvas.height = Math.round(this.height * scale);
    this.paint.setTransform(scale, 0, 0, scale, 0, 0);
    const side = Math.min(this.width, this.height);
    this.count = Math.max(LEAST, Math.min(MOST, Math.round((side * side) / PIXELS_A_SEED)));
  }

  #frame(now) {
    const seconds = Math.min(0.1, (now - this.last) / 1000);
    this.last = now;
    this.trail.update(this.analysers, seconds);
    const mood = MOODS[this.state];
    const still = this.still.matches;
    this.size = still ? mood.size : approach(this.size, mood.size, 5 * seconds);
    this.thinking = still ? 0 : approach(this.thinking, mood.thinking, 2.5 * seconds);
    this.shock = still ? 0 : Math.max(0, this.shock - 2.5 * seconds);
    if (!still) {
      this.phase += seconds;
      this.turned += seconds * (0.025 + 0.25 * this.thinking);
    }
    if (this.width > 0 && this.height > 0) this.#draw(still);
    requestAnimationFrame((next) => this.#frame(next));
  }

  #draw(still) {
    const { paint, trail, thinking, shock, phase, count } = this;
    const radius = 0.44 * Math.min(this.width, this.height) * (1 - 0.1 * thinking - 0.12 * shock);
    const spacing = radius / Math.sqrt(count);
    const angle = GOLDEN_ANGLE + DRIFT * thinking * Math.sin(phase * 0.9);
    const ownSeeds = new Path2D();
    const yourSeeds = new Path2D();
    for (let seed = 0; seed < count; seed += 1) {
      const share = Math.sqrt((seed + 0.5) / count); // 0 in the middle, 1 at the rim
      const theta = seed * angle + this.turned;
      const own = trail.assistant(still ? 0 : share * TRAVEL_S, bandAt(theta));
      const yours = trail.you(still ? 0 : (1 - share) * TRAVEL_S);
      const breath = still ? 0 : 0.05 * Math.sin(phase * 1.6 - share * 5) * (1 - thinking);
      const pulse = still ? 0 : 0.22 * thinking * Math.sin(phase * 5 - share * 9);
      const swell = this.size * (1 - 0.4 * shock) + breath + pulse + 0.75 * own + 0.8 * yours;
      const away = radius * share * (1 + (still ? 0 : 0.16 * own * share - 0.1 * yours * share));
      const x = away * Math.cos(theta);
      const y = away * Math.sin(theta);
      const dot = Math.max(0.4, spacing * 0.62 * (0.5 + 0.5 * share) * Math.min(1.35, swell));
      const path = yours > 0.14 && yours > own ? yourSeeds : ownSeeds;
      path.moveTo(x + dot, y);
      path.arc(x, y, dot, 0, 2 * Math.PI);
    }
    paint.clearRect(0, 0, this.width, this.height);
    paint.save();
    paint.translate(this.width / 2, this.height / 2);
    [paint.fillStyle] = this.colours;
    paint.fill(ownSeeds);
    [, paint.fillStyle] = this.colours;
    paint.fill(yourSeeds);
    paint.restore();
  }
}

/** Which share of the spectrum a direction shows: low notes below, high ones above, the same left and right. */
const bandAt = (theta) => Math.acos(Math.sin(theta)) / Math.PI;

function approach(value, target, share) {
  const change = target - value;
  return Math.abs(change) < 0.003 ? target : value + change * Math.min(1, share);
}
