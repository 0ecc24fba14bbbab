"""The voices in which questions are spoken. Which one asks is drawn by the conversation's id and never changes."""

from __future__ import annotations

import shutil

import numpy as np

from benchmarks.sounds import ESPEAK_VOICES, words
from benchmarks.talk.scenarios import Conversation
from benchmarks.turn_speech import FLITE_VOICE, VoiceMissing, flite

VOICES = ("hibari", *ESPEAK_VOICES, FLITE_VOICE)


def voice_of(conversation: Conversation) -> str:
    """Of all its turns."""
    return VOICES[conversation.digest[1] % len(VOICES)]


def speak(text: str, voice: str) -> np.ndarray:
    """(samples,) int16 at 16 kHz, silence around it trimmed. Raises `VoiceMissing`."""
    if voice == FLITE_VOICE:
        return flite(text)
    pcm: np.ndarray = (np.clip(words(text, voice), -1, 1) * 32767).astype(np.int16)
    return pcm


def require_voices() -> None:
    """Raises `VoiceMissing` where a voice cannot speak here: figures of fewer voices would not be comparable."""
    missing = [program for program in ("espeak-ng", "flite") if shutil.which(program) is None]
    if missing:
        raise VoiceMissing(
            f"{' and '.join(missing)} not installed; run: apt-get install {' '.join(missing)}, or give --ways typed"
        )
