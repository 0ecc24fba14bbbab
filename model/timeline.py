"""Where phonemes lie in time: quarters of frames (21.3 ms), each with the phoneme that is said in it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from model.mouth import SAMPLE_RATE, SAMPLES_PER_FRAME

DURATION_UNIT_SAMPLES = 600
"""Durations are counted in 25 ms, the grid of the voice that was learned."""
QUARTER_SAMPLES = SAMPLES_PER_FRAME // 4


def quarter_features(centre: Tensor, start: Tensor, duration: Tensor) -> Tensor:
    """Where a quarter frame lies in its phoneme: (…, 6).

    `centre` (…) of the quarter, `start` and `duration` (…) of the phoneme that is said there, all in samples.
    """
    since = (centre - start) / SAMPLE_RATE
    left = (start + duration - centre) / SAMPLE_RATE
    share = (since / (duration / SAMPLE_RATE).clamp(min=1e-3)).clamp(0, 1.5)
    edge = 512 / SAMPLE_RATE  # how the 21 ms around the centre are shared with the neighbours
    return torch.stack(
        [
            share,
            since.clamp(-0.1, 0.6) * 4,
            left.clamp(-0.1, 0.6) * 4,
            (since / edge).clamp(-1, 1),
            (left / edge).clamp(-1, 1),
            torch.ones_like(since),
        ],
        -1,
    )


def neighbour_states(states: Tensor, index: Tensor) -> Tensor:
    """States (rows, n, width) of the phoneme before, at and after each quarter's own: (rows, quarters, 3 · width)."""
    padded = F.pad(states, (0, 0, 1, 1))
    row = torch.arange(len(states), device=states.device)[:, None]
    return torch.cat([padded[row, index], padded[row, index + 1], padded[row, index + 2]], -1)
