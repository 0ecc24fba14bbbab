/**
 * The drawing in the middle: a soft body that moves with the assistant's voice, and a thin ring around it that moves
 * with yours. Both are drawn from the sound itself; with reduced motion only their sizes change.
 */

const POINTS = 96;
const BANDS = 6;
const LAYERS = 4;

/** Smoothed loudness of a few bands of an analyser, each 0 to 1. */
class Bands {
  constructor() {
    this.levels = new Float32Array(BANDS);
    this.spectrum = new Uint8Array(0);
  }

  update(analyser, seconds) {
    if (analyser && this.spectrum.length !== analyser.frequencyBinCount) {
      this.spectrum = new Uint8Array(analyser.frequencyBinCount);
    }
    if (analyser) analyser.getByteFrequencyData(this.spectrum);
    else this.spectrum.fill(0);
    const used = Math.min(this.spectrum.length, 170); // up to about 8 kHz
    for (let band = 0; band < BANDS; band += 1) {
      const from = Math.floor(2 + (used - 2) * (band / BANDS) ** 2);
      const to = Math.max(from + 1, Math.floor(2 + (used - 2) * ((band + 1) / BANDS) ** 2));
      let sum = 0;
      for (let bin = from; bin < to && bin < this.spectrum.length; bin += 1) sum += this.spectrum[bin];
      const level = sum / (to - from) / 255;
      const pace = level > this.levels[band] ? 18 : 6; // rises at once, sinks slowly
      this.levels[band] += (level - this.levels[band]) * Math.min(1, pace * seconds);
    }
  }

  get mean() {
    return this.levels.reduce((sum, level) => sum + level, 0) / BANDS;
  }
}

export class Orb {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.paint = canvas.getContext('2d');
    this.you = new Bands();
    this.assistant = new Bands();
    this.analysers = { you: null, assistant: null };
    this.state = 'ready';
    this.energy = 0; // how awake it is, 0 to 1, eased
    this.time = 0;
    this.still = window.matchMedia('(prefers-reduced-motion: reduce)');
    this.dark = window.matchMedia('(prefers-color-scheme: dark)');
    this.dark.addEventListener('change', () => this.#readColours());
    new ResizeObserver(() => this.#resize()).observe(canvas);
    this.#readColours();
    this.#resize();
    this.last = performance.now();
    requestAnimationFrame((now) => this.#frame(now));
  }

  #readColours() {
    const style = getComputedStyle(document.documentElement);
    this.colours = Object.fromEntries(
      ['deep', 'mid', 'light', 'ring'].map((name) => [name, style.getPropertyValue(`--orb-${name}`).trim()]),
    );
  }

  #resize() {
    const scale = Math.min(2, window.devicePixelRatio || 1);
    this.size = this.canvas.clientWidth;
    this.canvas.width = Math.round(this.size * scale);
    this.canvas.height = Math.round(this.size * scale);
    this.paint.setTransform(scale, 0, 0, scale, 0, 0);
  }

  #frame(now) {
    const seconds = Math.min(0.1, (now - this.last) / 1000);
    this.last = now;
    this.you.update(this.analysers.you, seconds);
    this.assistant.update(this.analysers.assistant, seconds);
    const awake = { ready: 0.35, ended: 0.35, connecting: 0.5, reconnecting: 0.3 }[this.state] ?? 1;
    const change = awake - this.energy;
    this.energy = Math.abs(change) < 0.005 ? awake : this.energy + change * Math.min(1, 3 * seconds);
    const pace = this.state === 'thinking' ? 2.6 : 0.55 + this.assistant.mean * 1.6;
    if (!this.still.matches) this.time += seconds * pace;
    if (this.size > 0) this.#draw();
    requestAnimationFrame((next) => this.#frame(next));
  }

  #draw() {
    const { paint, size, time } = this;
    paint.clearRect(0, 0, size, size);
    paint.save();
    paint.translate(size / 2, size / 2);
    const breath = this.still.matches ? 0 : Math.sin(time * 1.4) * 0.012;
    const radius = size * (0.27 + breath + 0.05 * this.assistant.mean);
    this.#glow(radius);
    for (let layer = 0; layer < LAYERS; layer += 1) this.#body(radius * (1.06 - layer * 0.085), layer);
    this.#shine(radius);
    this.#ring(size * 0.375);
    paint.restore();
  }

  #glow(radius) {
    const reach = this.size / 2;
    const glow = this.paint.createRadialGradient(0, 0, radius * 0.6, 0, 0, reach);
    glow.addColorStop(0, `rgb(${this.colours.mid} / 1)`);
    glow.addColorStop(0.5, `rgb(${this.colours.mid} / 0.35)`);
    glow.addColorStop(1, `rgb(${this.colours.mid} / 0)`);
    this.paint.globalAlpha = 0.14 + 0.1 * this.energy + 0.3 * this.assistant.mean;
    this.paint.fillStyle = glow;
    this.paint.beginPath();
    this.paint.arc(0, 0, reach, 0, 2 * Math.PI);
    this.paint.fill();
  }

  /** One translucent layer: a circle bent by slow waves, and by the bands of the assistant's voice. */
  #body(radius, layer) {
    const { paint, time } = this;
    const { levels } = this.assistant;
    const calm = 0.016 + (this.state === 'thinking' ? 0.02 : 0);
    this.#closedCurve((angle) => {
      let bend = calm * Math.sin(2 * angle + time * (1 + layer * 0.35) + layer * 2.1);
      bend += calm * Math.sin(3 * angle - time * (0.8 + layer * 0.2) + layer);
      for (let band = 0; band < BANDS; band += 1) {
        const turn = time * (0.9 + 0.25 * band) * (band % 2 ? -1 : 1) + layer * 0.8;
        bend += (levels[band] * 0.075 * Math.sin((2 + (band % 4)) * angle + turn)) / (1 + band * 0.2);
      }
      return radius * (1 + bend);
    });
    const fill = paint.createLinearGradient(-radius * 0.6, -radius, radius * 0.5, radius);
    fill.addColorStop(0, `rgb(${this.colours.light})`);
    fill.addColorStop(0.55, `rgb(${this.colours.mid})`);
    fill.addColorStop(1, `rgb(${this.colours.deep})`);
    paint.fillStyle = fill;
    paint.globalAlpha = (0.24 + 0.15 * layer) * (0.75 + 0.25 * this.energy);
    paint.fill();
  }

  #shine(radius) {
    const { paint } = this;
    const shine = paint.createRadialGradient(
      -radius * 0.3,
      -radius * 0.42,
      0,
      -radius * 0.3,
      -radius * 0.42,
      radius * 0.85,
    );
    shine.addColorStop(0, 'rgb(255 255 255 / 0.55)');
    shine.addColorStop(1, 'rgb(255 255 255 / 0)');
    paint.globalAlpha = 0.55 * (0.6 + 0.4 * this.energy);
    paint.fillStyle = shine;
    paint.beginPath();
    paint.arc(0, 0, radius * 0.84, 0, 2 * Math.PI);
    paint.fill();
  }

  /** Your voice: a thin ring, nearly a circle while you are silent. */
  #ring(radius) {
    const { paint, time } = this;
    const { levels } = this.you;
    const loud = this.you.mean;
    for (let line = 0; line < 3; line += 1) {
      this.#closedCurve((angle) => {
        let bend = 0;
        for (let band = 0; band < BANDS; band += 1) {
          const turn = time * (1.2 + 0.4 * band) * (line - 1 || 0.5) + line * 0.9;
          bend += (levels[band] * 0.075 * Math.sin((band + 3) * angle + turn)) / (1 + band * 0.25);
        }
        return radius * (1 + 0.05 * loud + bend);
      });
      paint.strokeStyle = `rgb(${this.colours.ring})`;
      paint.lineWidth = line === 0 ? 1.5 : 1;
      paint.globalAlpha = (line === 0 ? 0.32 : 0.1) + 0.5 * Math.min(1, loud * 2.2) * (line === 0 ? 1 : 0.6);
      paint.stroke();
    }
  }

  #closedCurve(radiusAt) {
    const { paint } = this;
    paint.beginPath();
    for (let point = 0; point <= POINTS; point += 1) {
      const angle = (point / POINTS) * 2 * Math.PI;
      const radius = radiusAt(angle);
      paint.lineTo(radius * Math.cos(angle), radius * Math.sin(angle));
    }
    paint.closePath();
  }
}
