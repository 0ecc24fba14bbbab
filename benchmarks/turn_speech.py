"""Speech for the benchmark of turns: whole sentences, and beginnings after which the speaker hesitates.

The sentences are those of `turns.txt`, the place of the hesitation marked; none was used in training. Half are read
by hibari and half by flite's voice rms, which no part of the model was trained on. Half of the beginnings are cut out
of the whole sentence's sound at a word's end; the others are spoken as beginnings, with a comma, "um" or "uh" after
them.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr

from benchmarks.questions import MICROPHONE_RATE

SENTENCES = Path(__file__).with_name("turns.txt")
FLITE_VOICE = "rms"
HESITATIONS = (", um", ",", ", uh", ", um,")
PAUSE_MEDIAN_MS, PAUSE_SPREAD, PAUSE_LIMITS_MS = 700, 0.4, (300, 1500)
"""Hesitations are log-normal: this median, this deviation of the logarithm, within these limits."""
VOICE_RATE = 24_000
_UNIT_SAMPLES = 600
"""hibari's durations count in these."""
_DURATIONS = "/Clip_output_0"

Kind = Literal["whole", "cut", "hesitating"]


class VoiceMissing(OSError):
    """A program or package that speaks is not installed."""


@dataclass(frozen=True)
class Utterance:
    """What one person says before a pause; int16 at 16 kHz, silence around it trimmed."""

    kind: Kind
    voice: str
    text: str
    sound: np.ndarray
    pause_ms: int
    """Of a beginning: how long the speaker hesitates."""
    rest: np.ndarray
    """Of a beginning: what is said after it."""


class _Hibari:
    """hibari, with the duration of each phoneme as one more output of its graph."""

    def __init__(self) -> None:
        import onnx
        import onnxruntime as ort
        from hibari import Hibari

        self.hibari = Hibari(threads=1)
        model = onnx.load(self.hibari.model_path)
        model.graph.output.append(onnx.helper.make_tensor_value_info(_DURATIONS, onnx.TensorProto.FLOAT, None))
        self.session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def speak(self, text: str) -> tuple[np.ndarray, list[int]]:
        """→ (samples,) float32 at 24 kHz, and where each of its words ends, in samples.

        Where the voice reads several words as one, fewer ends come out.
        """
        from hibari import dsp

        pieces, ends, offset = [], [], 0
        for phonemes in self.hibari.phonemize(text):
            ids = self.hibari.ids(phonemes)
            *spectra, durations = self.session.run(None, {"ids": np.array([ids]), "speed": np.ones(1, np.float32)})
            sound = dsp.synth(*(part[0] for part in spectra), np.random.default_rng(0))
            edge = (len(ids) - len(phonemes)) // 2
            until = np.cumsum(durations.reshape(-1)) * _UNIT_SAMPLES
            spaces = [place + edge for place, sign in enumerate(phonemes) if sign == " "]
            ends += [offset + int(until[place - 1]) for place in [*spaces, len(ids) - edge]]
            pieces.append(sound)
            offset += len(sound)
        return np.concatenate(pieces).astype(np.float32), ends


def flite(text: str, voice: str = FLITE_VOICE) -> np.ndarray:
    """The text in one of flite's voices, (samples,) int16 at 16 kHz. Raises `VoiceMissing`."""
    if shutil.which("flite") is None:
        raise VoiceMissing("flite is not installed; run: apt-get install flite")
    command = ["flite", "-voice", voice, "-t", text, "-o", "/dev/stdout"]
    wav = subprocess.run(command, check=True, capture_output=True).stdout
    with soundfile.SoundFile(io.BytesIO(wav)) as header:
        rate = header.samplerate
    samples = np.frombuffer(wav[44 : 44 + (len(wav) - 44) // 2 * 2], "<i2").astype(np.float32) / 32768
    return microphone(samples, rate)


def microphone(sound: np.ndarray, rate: int) -> np.ndarray:
    """Any rate → int16 at 16 kHz, half of full scale, 50 ms kept around what is loud."""
    wave = soxr.resample(sound, rate, MICROPHONE_RATE)
    loud = np.flatnonzero(np.abs(wave) > 0.02 * np.abs(wave).max())
    wave = wave[max(0, loud[0] - 800) : loud[-1] + 800]
    return (np.clip(wave * (0.5 / np.abs(wave).max()), -1, 1) * 32767).astype(np.int16)


def utterances(count: int) -> Iterator[Utterance]:
    """The first `count` sentences, each whole and as a beginning. Raises `VoiceMissing`."""
    hibari, rng = _Hibari(), np.random.default_rng(0)
    for number, line in enumerate(SENTENCES.read_text(encoding="utf-8").splitlines()[:count]):
        beginning, _, rest = (part.strip() for part in line.partition("|"))
        text, read_by_hibari, spoken_so = f"{beginning} {rest}", number % 2 == 0, number % 4 in (1, 3)
        sound, ends = hibari.speak(text)
        whole = microphone(sound, VOICE_RATE) if read_by_hibari else flite(text)
        yield Utterance("whole", "hibari" if read_by_hibari else "flite", text, whole, 0, whole[:0])
        pause_ms = int(np.clip(PAUSE_MEDIAN_MS * np.exp(PAUSE_SPREAD * rng.standard_normal()), *PAUSE_LIMITS_MS))
        words = len(beginning.split())
        if not spoken_so and len(ends) == len(text.split()):
            cut = ends[words - 1]
            first, last = (microphone(part, VOICE_RATE) for part in (sound[:cut], sound[cut:]))
            yield Utterance("cut", "hibari", beginning, first, pause_ms, last)
            continue
        said = beginning + HESITATIONS[number // 2 % len(HESITATIONS)]
        by_hibari = number % 4 != 1
        first = microphone(hibari.speak(said)[0], VOICE_RATE) if by_hibari else flite(said)
        yield Utterance("hesitating", "hibari" if by_hibari else "flite", said, first, pause_ms, whole)
