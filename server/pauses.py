"""Cuts a long recording where nobody speaks, into pieces that the ears can hear at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from model.voice_activity import WINDOW_SAMPLES
from server.turns import SAMPLE_RATE
from server.voices import Voices, VoiceStream

_LONGEST_S, _SHORTEST_S = 28.0, 10.0
"""Of a piece; the last one may be shorter."""
_PAUSE_S = 0.5
"""The cut is where so long a stretch is least likely to hold a voice."""
_VOICE = 0.3
"""Likelihood from which a window counts as voice here: rather hear a breath than miss a word."""
_MARGIN_S = 0.4
_SLICE_SAMPLES = SAMPLE_RATE // 2
"""Judged at once, so that open microphones get their turn."""


def windows(seconds: float) -> int:
    """How many windows of the voice detector so long is."""
    return round(seconds * SAMPLE_RATE / WINDOW_SAMPLES)


async def pieces(voices: Voices, samples: np.ndarray) -> list[tuple[int, int]]:
    """(n,) float32 at 16 kHz → begin and end, in samples, of the pieces in which somebody may speak."""
    stream = VoiceStream()
    padded = np.concatenate([samples, np.zeros(-len(samples) % WINDOW_SAMPLES, np.float32)])
    found: list[float] = []
    for start in range(0, len(padded), _SLICE_SAMPLES):
        found += await voices.probabilities(stream, padded[start : start + _SLICE_SAMPLES])
    return [(begin, min(end, len(samples))) for begin, end in cut(found)]


def cut(probabilities: Sequence[float]) -> list[tuple[int, int]]:
    """How likely each window holds a voice → begin and end of the pieces, in samples, without silence around."""
    voice = np.asarray(probabilities, np.float32)
    pause = np.ones(windows(_PAUSE_S), np.float32)
    around = np.convolve(np.pad(voice, len(pause) // 2, constant_values=0), pause, "valid")[: len(voice)]
    edges = [0]
    while len(voice) - edges[-1] > windows(_LONGEST_S):
        first, last = edges[-1] + windows(_SHORTEST_S), edges[-1] + windows(_LONGEST_S)
        later_first = around[first:last][::-1]  # of equally quiet places the last: fewer pieces
        edges.append(last - 1 - int(later_first.argmin()))
    edges.append(len(voice))
    spoken = (_trimmed(voice, begin, end) for begin, end in itertools.pairwise(edges))
    return [(begin * WINDOW_SAMPLES, end * WINDOW_SAMPLES) for begin, end in spoken if end > begin]


def _trimmed(voice: np.ndarray, begin: int, end: int) -> tuple[int, int]:
    loud = begin + np.flatnonzero(voice[begin:end] >= _VOICE)
    if not len(loud):
        return begin, begin
    margin = windows(_MARGIN_S)
    return max(begin, int(loud[0]) - margin), min(end, int(loud[-1]) + 1 + margin)
