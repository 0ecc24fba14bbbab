/** 16-bit samples and floats, and the loudness of a block. */

/** @param {ArrayBuffer} buffer little-endian PCM16 @returns {Float32Array} within [-1, 1] */
export function floatFromPcm16(buffer) {
  const view = new DataView(buffer);
  const samples = new Float32Array(buffer.byteLength >> 1);
  for (let i = 0; i < samples.length; i += 1) samples[i] = view.getInt16(2 * i, true) / 32768;
  return samples;
}

/** One float sample as a 16-bit integer, clipped. */
export function toPcm16(sample) {
  return Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
}

/** Root mean square of a block; 0 of an empty one. */
export function rootMeanSquare(samples) {
  let sum = 0;
  for (let i = 0; i < samples.length; i += 1) sum += samples[i] * samples[i];
  return samples.length ? Math.sqrt(sum / samples.length) : 0;
}

/** Loudness as a meter shows it: 0 at -54 dBFS and below, 1 at -9 dBFS and above. */
export function meterLevel(rms) {
  if (rms <= 0) return 0;
  return Math.max(0, Math.min(1, (20 * Math.log10(rms) + 54) / 45));
}
