/** RIFF WAV files, 16-bit mono. */

/** @param {Int16Array} samples @param {number} rate samples a second @returns {Blob} */
export function wavBlob(samples, rate) {
  const header = new DataView(new ArrayBuffer(44));
  const bytes = samples.length * 2;
  const word = (at, text) => [...text].forEach((letter, i) => header.setUint8(at + i, letter.charCodeAt(0)));
  word(0, 'RIFF');
  header.setUint32(4, 36 + bytes, true);
  word(8, 'WAVEfmt ');
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true); // PCM
  header.setUint16(22, 1, true); // channels
  header.setUint32(24, rate, true);
  header.setUint32(28, 2 * rate, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  word(36, 'data');
  header.setUint32(40, bytes, true);
  return new Blob([header, samples], { type: 'audio/wav' });
}
