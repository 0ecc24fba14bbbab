"""How near one reading of a text is to another: log-mel distance after time alignment, and a picture of both."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import librosa
import numpy as np

from model.mouth import SAMPLE_RATE

HOP = 256
SILENCE_DB = 45.0
"""Below the loudest: nobody speaks there."""
_FLOOR = 1e-4
"""Of mel amplitudes: what is quieter is silence."""


@functools.cache
def _filters() -> np.ndarray:
    filters: np.ndarray = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=1024, n_mels=80, fmin=0, fmax=12_000)
    return filters


def log_mel(samples: np.ndarray) -> np.ndarray:
    """(samples,) at 24 kHz → natural log of mel amplitudes (80, frames), a frame every 10.7 ms."""
    spectrum = np.abs(librosa.stft(samples.astype(np.float32), n_fft=1024, hop_length=HOP))
    mel: np.ndarray = np.log(np.maximum(_filters() @ spectrum, _FLOOR))
    return mel


def spoken_part(samples: np.ndarray) -> np.ndarray:
    """Without the silence before the first word and after the last."""
    found: np.ndarray = librosa.effects.trim(samples, top_db=SILENCE_DB, frame_length=1024, hop_length=HOP)[0]
    return found


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference of log-mel values, in nats, along the path that aligns the two best in time."""
    a, b = log_mel(spoken_part(one)), log_mel(spoken_part(other))
    _, path = librosa.sequence.dtw(a, b, metric="cityblock", global_constraints=True, band_rad=0.25)
    return float(np.abs(a[:, path[:, 0]] - b[:, path[:, 1]]).mean())


def draw(spoken: Mapping[str, np.ndarray], text: str, path: Path) -> None:
    """A picture of the spectrograms of several readings, one above the other."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(spoken), 1, figsize=(9, 2.3 * len(spoken)), sharex=True, layout="constrained")
    for axis, (name, samples) in zip(np.atleast_1d(axes), spoken.items(), strict=True):
        spectrum = librosa.stft(samples.astype(np.float32), n_fft=1024, hop_length=HOP)
        decibels = librosa.amplitude_to_db(np.abs(spectrum), ref=1.0)
        seconds = len(samples) / SAMPLE_RATE
        extent = (0.0, seconds, 0.0, SAMPLE_RATE / 2000)
        axis.imshow(decibels, origin="lower", aspect="auto", extent=extent, vmin=-60, vmax=30, cmap="magma")
        axis.set_ylabel("kHz")
        axis.set_title(name, loc="left", fontsize=9)
    np.atleast_1d(axes)[-1].set_xlabel("seconds")
    figure.suptitle(text if len(text) < 110 else text[:107] + "…", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, metadata={"Software": None})
    pyplot.close(figure)
