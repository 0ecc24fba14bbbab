"""Sound that comes as a file, of any rate and channel count → samples at 16 kHz."""

from __future__ import annotations

import io

import numpy as np
import soundfile
import soxr

from model.audio import AudioError, to_mono
from server.turns import SAMPLE_RATE

READABLE = "WAV, FLAC, MP3, Ogg (Vorbis or Opus) or AIFF"
_BLOCK_SAMPLES = 1 << 18
"""Read at once, all channels together."""
_RATES = (4_000, 384_000)


class SoundTooLong(AudioError):
    """More seconds than can be heard."""

    code = "audio_too_long"


def read_sound(data: bytes, longest_s: float) -> np.ndarray:
    """A file's bytes → (n,) float32 mono at 16 kHz, at least one sample.

    It is read and resampled in blocks, so that what a small file unpacks to is bounded. Raises `AudioError` when it is
    no sound, `SoundTooLong` when it lasts longer than `longest_s`.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            samples = _read(file, longest_s)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"not a readable sound file ({error.error_string}); send {READABLE}") from error
    if not len(samples):
        raise AudioError("the file holds no samples; send a recording that is not empty")
    return samples


def _read(file: soundfile.SoundFile, longest_s: float) -> np.ndarray:
    rate = int(file.samplerate)
    if not _RATES[0] <= rate <= _RATES[1]:
        raise AudioError(f"a sample rate of {rate} Hz; send {_RATES[0]} to {_RATES[1]} Hz")
    resampler = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, "float32", quality="HQ")
    pieces: list[np.ndarray] = []
    read, longest, last = 0, longest_s * rate, False
    while not last:
        block = file.read(max(1, _BLOCK_SAMPLES // file.channels), dtype="float32", always_2d=True)
        last = not len(block)
        read += len(block)
        if read > longest:
            raise SoundTooLong(f"the recording lasts more than {longest_s:g} s; send at most that")
        mono = to_mono(block)
        pieces.append(resampler.resample_chunk(mono, last) if resampler else mono)
    joined: np.ndarray = np.concatenate(pieces).clip(-1, 1)
    return joined
