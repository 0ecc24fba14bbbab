"""How sound is cut for the echo's sums: blocks of the windows that are judged for voices, transformed in pairs."""

from __future__ import annotations

from model.voice_activity import WINDOW_SAMPLES

BLOCK = WINDOW_SAMPLES
"""Samples at 16 kHz: 32 ms."""
TRANSFORM = 2 * BLOCK
"""A block and the one before it."""
BINS = TRANSFORM // 2 + 1
