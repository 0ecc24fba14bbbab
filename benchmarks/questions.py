"""Spoken questions for the benchmarks, always the same: fixed texts in the voice of the hibari package."""

from __future__ import annotations

from functools import cache

import numpy as np
import soxr

MICROPHONE_RATE = 16_000

TEXTS = (
    "What is the capital of France?",
    "Can you tell me a short story about a dog?",
    "How does a rainbow form?",
    "What should I cook for dinner tonight?",
    "Why is the sky blue?",
    "Who wrote Romeo and Juliet?",
    "How are you feeling today?",
    "What is the best way to learn a language?",
    "Give me a tip for sleeping better.",
    "What do bees do in the winter?",
    "Where does chocolate come from?",
    "How do I make a cup of tea?",
    "What can I do on a rainy afternoon?",
    "Why do cats purr?",
    "Tell me something about the moon.",
    "How can I stay calm before an exam?",
    "What is a good name for a kitten?",
    "When should I plant tomatoes?",
    "How far away is the sun?",
    "What makes a good friend?",
)


def microphone(count: int) -> list[np.ndarray]:
    """The first `count` questions (they repeat after 20), each (samples,) int16 at 16 kHz, silence trimmed.

    What is measured from the end of speech needs that end to be the end of the array.
    """
    return [spoken(TEXTS[i % len(TEXTS)]) for i in range(count)]


@cache
def spoken(text: str) -> np.ndarray:
    """(samples,) int16 at 16 kHz, silence trimmed."""
    from hibari import Hibari

    wave = soxr.resample(np.asarray(Hibari()(text, seed=0), np.float32).reshape(-1), 24_000, MICROPHONE_RATE)
    loud = np.flatnonzero(np.abs(wave) > 0.02 * np.abs(wave).max())
    wave = wave[max(0, loud[0] - 800) : loud[-1] + 800]
    return (np.clip(wave * (0.5 / np.abs(wave).max()), -1, 1) * 32767).astype(np.int16)
