"""Sound in and out: PCM16 and float, any rate and channel count, WAV files, and Whisper's log-mel spectrogram.

Inside the project sound is mono float32 within [-1, 1]: 16 kHz on its way in, 24 kHz on its way out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
import torch.nn.functional as F
from torch import Tensor
from whisper.audio import log_mel_spectrogram

from model.request import InvalidRequest

SAMPLE_RATE = 16_000
"""Hertz of everything that is heard."""
N_MELS = 80
HOP_LENGTH = 160
SAMPLES_PER_STATE = 2 * HOP_LENGTH
"""The encoder halves the log-mel's 100 frames a second: one of its states is 20 ms."""
WINDOW_SECONDS = 30
WINDOW_STATES = WINDOW_SECONDS * SAMPLE_RATE // SAMPLES_PER_STATE
PCM16_SCALE = 32768.0


class AudioError(InvalidRequest):
    """This is no sound that can be heard; the message says what was found and what to give instead."""

    code = "invalid_audio"


def pcm16_to_float(pcm: bytes) -> np.ndarray:
    """Little-endian signed 16-bit samples → float32 within [-1, 1); `AudioError` on half a sample."""
    if len(pcm) % 2:
        raise AudioError(f"{len(pcm)} bytes are not whole 16-bit samples: send an even number of bytes")
    return np.frombuffer(pcm, "<i2").astype(np.float32) / PCM16_SCALE


def float_to_pcm16(samples: np.ndarray) -> bytes:
    """Float samples → little-endian signed 16-bit, rounded; what exceeds [-1, 1) is clipped."""
    scaled = np.rint(np.asarray(samples, np.float32) * PCM16_SCALE)
    return np.clip(scaled, -PCM16_SCALE, PCM16_SCALE - 1).astype("<i2").tobytes()


def to_mono(samples: np.ndarray) -> np.ndarray:
    """(samples,) or (samples, channels) → (samples,) float32, the channels' mean; `AudioError` on NaN or infinity."""
    samples = np.asarray(samples, np.float32)
    if samples.ndim == 2:
        samples = samples.mean(1)
    if samples.ndim != 1:
        raise AudioError(f"sound has the shape {samples.shape}, wanted (samples,) or (samples, channels)")
    if not np.isfinite(samples).all():
        raise AudioError("the sound holds NaN or infinite samples; give finite ones within [-1, 1]")
    return np.ascontiguousarray(samples)


def resample(samples: np.ndarray, from_rate: int, to_rate: int = SAMPLE_RATE) -> np.ndarray:
    """(samples,) at one rate → at another, with soxr's high-quality filter."""
    if from_rate <= 0 or to_rate <= 0:
        raise AudioError(f"a sample rate must be positive, found {from_rate} and {to_rate} Hz")
    if from_rate == to_rate:
        return samples
    resampled: np.ndarray = soxr.resample(samples, from_rate, to_rate)
    return resampled.astype(np.float32, copy=False)


@dataclass(frozen=True)
class Sound:
    """A mono recording."""

    samples: np.ndarray
    """(samples,) float32."""
    sample_rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate


def read_wav(path: str | Path, sample_rate: int = SAMPLE_RATE) -> Sound:
    """A sound file of any rate, width and channel count (WAV, FLAC, OGG, …), made mono at `sample_rate`.

    `AudioError` when it is missing, no sound file, or empty.
    """
    path = Path(path)
    if not path.is_file():
        raise AudioError(f"{path}: there is no such file; give the path of a WAV file")
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: not a readable sound file ({error.error_string}); give a WAV file") from error
    if not len(samples):
        raise AudioError(f"{path}: the file holds no samples; give a recording that is not empty")
    return Sound(resample(to_mono(samples), rate, sample_rate), sample_rate)


def write_wav(path: str | Path, samples: np.ndarray, sample_rate: int) -> None:
    """Write (samples,) float as a mono 16-bit WAV file; `AudioError` when the place cannot be written."""
    path = Path(path)
    if not path.parent.is_dir():
        raise AudioError(f"{path}: the folder {path.parent} does not exist; make it first or choose another")
    pcm = np.frombuffer(float_to_pcm16(samples), "<i2")
    try:
        soundfile.write(path, pcm, sample_rate, subtype="PCM_16", format="WAV")
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: cannot be written ({error.error_string})") from error


def log_mel(samples: np.ndarray | Tensor, states: int = WINDOW_STATES) -> Tensor:
    """Whisper's log-mel spectrogram of 16 kHz sound followed by silence: (80, 2 · states) float32.

    The silence is real: what openai-whisper's `pad_or_trim` makes of the samples before the spectrogram. Sound beyond
    `states` states (20 ms each) is cut off.
    """
    sound = torch.as_tensor(samples, dtype=torch.float32)
    wanted = states * SAMPLES_PER_STATE
    return log_mel_spectrogram(F.pad(sound[:wanted], (0, max(0, wanted - len(sound)))), n_mels=N_MELS)


def states_of(samples: int) -> int:
    """Encoder states (20 ms each) that begin within so many samples of 16 kHz sound."""
    return math.ceil(samples / SAMPLES_PER_STATE)
