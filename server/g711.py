"""G.711: telephone sound, one byte a sample at 8 kHz, in µ-law (North America, Japan) and A-law (elsewhere)."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np

SAMPLE_RATE = 8000
Law = Literal["mulaw", "alaw"]


def decode(data: bytes, law: Law) -> np.ndarray:
    """Bytes → (n,) float32 within [-1, 1]."""
    values: np.ndarray = _values(law)[np.frombuffer(data, np.uint8)]
    return values.astype(np.float32) / 32768


def encode(samples: np.ndarray, law: Law) -> bytes:
    """(n,) float32 → a byte a sample: the code whose value is nearest; what is beyond full scale is clipped."""
    values = _values(law)
    order = np.argsort(values, kind="stable")
    rising = values[order].astype(np.float32)
    nearest = np.searchsorted((rising[1:] + rising[:-1]) / 2, samples * 32768)
    codes: np.ndarray = order[nearest].astype(np.uint8)
    return codes.tobytes()


@cache
def _values(law: Law) -> np.ndarray:
    """(256,) int16: what each code stands for (ITU-T G.711, tables 1 and 2, in 16 bits)."""
    codes = np.arange(256)
    codes = codes ^ (0xFF if law == "mulaw" else 0x55)
    exponent, mantissa = (codes >> 4) & 7, codes & 0xF
    if law == "mulaw":
        sizes = (((mantissa << 3) + 0x84) << exponent) - 0x84
        negative = (codes & 0x80) != 0
    else:
        sizes = np.where(exponent == 0, (mantissa << 4) + 8, ((mantissa << 4) + 0x108) << np.maximum(exponent - 1, 0))
        negative = (codes & 0x80) == 0
    return np.where(negative, -sizes, sizes).astype(np.int16)
