"""Many voices in many rooms: a text spoken by a voice that is drawn anew each time, then what a microphone makes of it.

Three engines: hibari with its pitch and formants warped, flite's voices at other sizes and tempos, espeak-ng's accents
and characters. Then reverberation, colour, telephone bands, level and noise. Voices on which ears are measured
(`training.voices.UNHEARD`) never speak here.
"""

from __future__ import annotations

import re

import numpy as np
from hibari import Hibari, dsp
from numpy.typing import NDArray

from model.audio import SAMPLE_RATE, resample
from training.voices import coloured_noise, run_program

Samples = NDArray[np.float32]
_HIBARI_RATE = 24_000
_FLITE = ("slt", "awb", "kal16", "kal")
_ACCENTS = ("en-us", "en-us", "en-us", "en-gb", "en-gb", "en-gb-x-rp", "en-us-nyc", "en-029", "en-gb-x-gbclan")
# fmt: off
_CHARACTERS = (
    "m1", "m2", "m4", "m6", "m8", "f1", "f5", "Alex", "Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo",
    "Gene", "Gene2", "Henrique", "Hugo", "Jacky", "Lee", "Marco", "Michael", "Mike", "Nguyen", "adam", "anika",
    "antonio", "aunty", "benjamin", "boris", "caleb", "david", "ed", "edward", "edward2", "grandma", "grandpa",
    "gustave", "iven", "iven2", "iven3", "john", "klatt", "klatt3", "klatt4", "klatt5", "linda", "marcelo",
    "michel", "miguel", "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert", "sandro", "shelby",
    "steph", "steph2", "travis", "victor",
)
# fmt: on


class Voices:
    """Speaks texts, each in a voice of its own."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.hibari = Hibari(threads=1)

    def __call__(self, text: str) -> Samples:
        """(samples,) float32 at 16 kHz, silence before and after cut off; empty where nothing is heard."""
        kind = self.rng.random()
        sound = self._hibari(text) if kind < 0.5 else self._flite(text) if kind < 0.75 else self._espeak(text)
        level = np.abs(sound)
        loud = np.flatnonzero(level > 0.01 * level.max(initial=1e-3))
        if len(loud) < SAMPLE_RATE // 10:
            return sound[:0]
        return sound[max(0, loud[0] - 800) : loud[-1] + 1200] / level.max()

    def _hibari(self, text: str) -> Samples:
        """The neural voice: deep, high or as it is; its size follows its pitch."""
        uniform = self.rng.uniform
        kind = self.rng.random()
        pitch, size = (1.0, 1.0) if kind < 0.15 else (uniform(0.75, 1.4), uniform(0.9, 1.15))
        if kind > 0.55:
            pitch, size = uniform(0.42, 0.75), uniform(0.78, 0.96)
        speed, liveliness = uniform(0.8, 1.35), uniform(0.5, 1.25)
        parts = []
        for phonemes in self.hibari.phonemize(text):
            ids = self.hibari.ids(phonemes)
            if len(ids) < 3:
                continue
            fed = {"ids": np.asarray([ids], np.int64), "speed": np.asarray([speed], np.float32)}
            spectra = [part[0] for part in self.hibari.sess.run(None, fed)]
            *spectra, f0 = spectra
            voiced = f0 > 40
            middle = f0[voiced].mean() if voiced.any() else 150.0
            f0 = np.where(voiced, (middle + (f0 - middle) * liveliness) * pitch, f0).astype(np.float32)
            parts.append(dsp.synth(*(_stretch(part, size) for part in spectra), f0, self.rng))
        sound = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        return resample(sound, _HIBARI_RATE)

    def _flite(self, text: str) -> Samples:
        voice = _FLITE[self.rng.integers(len(_FLITE))]
        command = ["flite", "-voice", voice, "--setf", f"duration_stretch={self.rng.uniform(0.75, 1.2):.2f}"]
        if self.rng.random() < 0.4:
            command += ["--setf", f"int_f0_target_mean={self.rng.uniform(80, 220):.0f}"]
        sound = run_program([*command, "-t", text, "-o", "/dev/stdout"])
        return resample(sound, SAMPLE_RATE, int(SAMPLE_RATE * self.rng.uniform(0.86, 1.14)))

    def _espeak(self, text: str) -> Samples:
        voice = f"{self.rng.choice(_ACCENTS)}+{self.rng.choice(_CHARACTERS)}"
        manner = ["-s", str(self.rng.integers(130, 205)), "-p", str(self.rng.integers(20, 80))]
        return run_program(["espeak-ng", "-v", voice, *manner, "--stdout", text])


def _stretch(spectrum: NDArray[np.float32], size: float) -> NDArray[np.float32]:
    """Move a spectral envelope (bins, frames) along frequency: a smaller or larger mouth."""
    if size == 1.0:
        return spectrum
    bins = np.arange(len(spectrum)) / size
    low = np.clip(bins.astype(int), 0, len(spectrum) - 2)
    share = np.clip(bins - low, 0, 1).astype(np.float32)[:, None]
    stretched: NDArray[np.float32] = spectrum[low] * (1 - share) + spectrum[low + 1] * share
    return stretched


def _convolve(sound: Samples, response: Samples) -> Samples:
    count = len(sound) + len(response) - 1
    size = 1 << (count - 1).bit_length()
    joined = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(response, size), size)[:count]
    return joined.astype(np.float32)


def microphone(sound: Samples, rng: np.random.Generator) -> Samples:
    """The sound in a room, through a microphone, with silence around it, at some level, in noise. Peak at most 1."""
    uniform = rng.uniform
    if rng.random() < 0.4:  # a room: noise that dies away
        length = int(uniform(0.1, 0.5) * SAMPLE_RATE)
        response = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length) * uniform(0.02, 0.12)
        response[0] = 1
        sound = _convolve(sound, response.astype(np.float32))[: len(sound) + length // 3]
    if rng.random() < 0.4:  # a colour: eight bands, up to 9 dB each
        decibels = np.interp(np.arange(257), np.linspace(0, 256, 8), uniform(-9, 9, 8))
        response = np.roll(np.fft.irfft(10 ** (decibels / 20)), 256) * np.hanning(512)
        sound = _convolve(sound, response.astype(np.float32))[256:-255]
    if rng.random() < 0.12:  # a telephone
        narrow = int(uniform(6000, 11000))
        sound = resample(resample(sound, SAMPLE_RATE, narrow), narrow, SAMPLE_RATE)
    before, after = int(uniform(0.02, 0.3) * SAMPLE_RATE), int(uniform(0.1, 0.35) * SAMPLE_RATE)
    sound = np.pad(sound, (before, after)) / max(1e-6, float(np.abs(sound).max()))
    sound *= 10 ** (uniform(-22, -1) / 20)
    if rng.random() < 0.75:
        snr_db = uniform(4, 35)
        noise = coloured_noise(len(sound), rng, uniform(0, 1.2))
        noise *= float(np.sqrt(np.square(sound).mean()) * 10 ** (-snr_db / 20))
        sound = (sound + noise).astype(np.float32)
    return np.clip(sound, -1, 1).astype(np.float32)


def seconds_likely(text: str) -> float:
    """How long the text is to speak, roughly."""
    return len(re.findall(r"\w", text)) / 13 + 0.4
