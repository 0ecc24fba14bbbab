"""Finds the turns in what the microphone hears: voice activity and endpointing behind one small protocol.

`Endpointer` turns the voice probability of each 32 ms window (`server/voices.py`) into signals. How much silence ends a
turn may depend on what was said: whoever hears it tells `expect` how likely that was all (`model/eagerness.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

import numpy as np

from model.eagerness import WAITS, Eagerness
from model.voice_activity import WINDOW_SAMPLES
from server.turn_taking.foreground import Foreground, LevelMeter

SAMPLE_RATE = 16_000
"""Of the microphone, inside the server."""
_HYSTERESIS = 0.15
_CANDIDATE_GAP_MS = 160


def ms_to_samples(ms: float) -> int:
    """Milliseconds → samples at 16 kHz."""
    return round(ms * SAMPLE_RATE / 1000)


def samples_to_ms(samples: int) -> int:
    """Samples at 16 kHz → whole milliseconds."""
    return samples * 1000 // SAMPLE_RATE


@dataclass(frozen=True)
class TurnRules:
    """When a turn begins and ends. After `pause_ms` of silence it is guessed that it will, `end_silence_ms` end it."""

    end_silence_ms: int = 500
    eagerness: Eagerness | None = None
    """How much silence ends a turn whose words are judged by `expect`: `end_silence_ms` is then for those that cannot
    be judged. None: silence alone decides."""
    pause_ms: int = 128
    min_speech_ms: int = 160
    pre_roll_ms: int = 320
    max_turn_ms: int = 120_000
    threshold: float = 0.5
    foreground: bool = False
    """Speech much fainter than that of the turns before is not counted."""


@dataclass(frozen=True)
class SpeechBegan:
    """At least `min_speech_ms` of speech was heard; it began at this sample of the microphone."""

    at_sample: int


@dataclass(frozen=True)
class SpeechPaused:
    """A short silence: the turn may be over. Speech ended at this sample."""

    at_sample: int


@dataclass(frozen=True)
class SpeechResumed:
    """It was not over."""

    at_sample: int


@dataclass(frozen=True)
class SpeechEnded:
    """The turn is over. Speech ended at this sample."""

    at_sample: int
    reason: Literal["silence", "commit", "max_turn"]
    probability: float | None = None
    """How likely that was all, where it was judged at this pause."""


TurnSignal = SpeechBegan | SpeechPaused | SpeechResumed | SpeechEnded


class TurnDetector(Protocol):
    """Sound in, signals out, in the order Began (Paused Resumed)* Ended. Positions count from the first sample."""

    def push(
        self, samples: np.ndarray, probabilities: Sequence[float], levels: Sequence[float] | None = None
    ) -> list[TurnSignal]:
        """(n,) float32 at 16 kHz, any n, and how likely each window of 512 that they complete holds a voice.

        `levels`: of these windows as the microphone had them, in decibels; None: of `samples`. An echo canceller makes
        the voice of somebody who interrupts an answer fainter than it was.
        """
        ...

    def expect(self, probability: float | None) -> list[TurnSignal]:
        """At a pause: how likely what was said so far ends the turn, None when nobody can tell. It may end now."""
        ...

    def learn(self, too_soon: bool) -> None:
        """At the beginning of speech: whether the turn before was ended too soon, this being its rest."""
        ...

    def flush(self) -> list[TurnSignal]:
        """End the open turn now; nothing when nobody has spoken."""
        ...

    def reset(self) -> None:
        """Drop the open turn without a signal; positions go on."""
        ...

    def configure(self, rules: TurnRules) -> None:
        """Other rules from now on."""
        ...


class _Phase(Enum):
    QUIET = "quiet"
    SPEECH = "speech"
    PAUSED = "paused"
    DEAF = "deaf"
    """After a turn that was too long: until the next pause."""


class Patience:
    """Learns in one conversation how much longer than usual to wait: somebody who tells a story pauses between
    sentences that are each complete.

    A turn that was ended too soon makes all waits longer; each that was not makes them shorter again.
    """

    _STEP_MS, _MOST_MS = 450, 900
    _KEPT = 0.6

    def __init__(self) -> None:
        self.extra_ms = 0.0
        """Milliseconds of silence on top of what the words ask for."""

    def learn(self, too_soon: bool) -> None:
        """Whether the turn before was ended too soon, once speech has begun again."""
        if too_soon:
            self.extra_ms = min(self.extra_ms + self._STEP_MS, self._MOST_MS)
        else:
            self.extra_ms *= self._KEPT


class Endpointer:
    """`TurnDetector` by silence, as much of it as what was said asks for. Every rule is counted in samples.

    While words are still to be judged, a pause lasts the longest that they could ask for: the judgement decides when it
    comes.
    """

    def __init__(self, rules: TurnRules) -> None:
        self._rules = rules
        self._position = 0
        self._phase = _Phase.QUIET
        self._begin = 0
        self._voiced = 0
        self._last_voice = 0
        self._end_silence = 0
        """Samples of it that end the turn at this pause."""
        self._probability: float | None = None
        """The judgement of this pause."""
        self._patience = Patience()
        self._foreground = Foreground()
        self._meter = LevelMeter()

    def configure(self, rules: TurnRules) -> None:
        """Other rules from the next window on."""
        self._rules = rules

    def reset(self) -> None:
        """Drop the open turn."""
        self._phase = _Phase.QUIET
        self._voiced = 0

    def push(
        self, samples: np.ndarray, probabilities: Sequence[float], levels: Sequence[float] | None = None
    ) -> list[TurnSignal]:
        """Probabilities of the windows that are complete now → what was noticed in them."""
        signals: list[TurnSignal] = []
        if levels is None and self._rules.foreground:
            levels = self._meter.levels(samples, len(probabilities))
        for index, probability in enumerate(probabilities):
            self._position += WINDOW_SAMPLES
            if levels is not None:
                voiced, speaking = probability >= self._rules.threshold, self._phase is not _Phase.QUIET
                probability = probability if self._foreground.counts(levels[index], voiced, speaking) else 0.0
            ended = self._judge(probability)
            if any(isinstance(signal, SpeechEnded) for signal in ended):
                self._foreground.turn_ended()
            signals += ended
        return signals

    def expect(self, probability: float | None) -> list[TurnSignal]:
        """The judgement of this pause; of a pause that is over, or without eagerness, it is ignored."""
        eagerness = self._rules.eagerness
        if self._phase is not _Phase.PAUSED or eagerness is None:
            return []
        silence_ms = self._rules.end_silence_ms if probability is None else WAITS[eagerness].silence_ms(probability)
        silence_ms = min(silence_ms + self._patience.extra_ms, max(silence_ms, WAITS[eagerness].longest_ms))
        self._end_silence, self._probability = ms_to_samples(silence_ms), probability
        if ended := self._end_by_silence():
            self._foreground.turn_ended()
        return ended

    def learn(self, too_soon: bool) -> None:
        """Wait longer after a false endpoint, and less long again after others."""
        self._patience.learn(too_soon)

    def flush(self) -> list[TurnSignal]:
        """End the open turn; a beginning that is still too short to be one counts here."""
        signals: list[TurnSignal] = []
        if self._phase is _Phase.QUIET and self._voiced:
            signals.append(SpeechBegan(self._begin))
        if signals or self._phase in (_Phase.SPEECH, _Phase.PAUSED):
            signals.append(SpeechEnded(self._last_voice, "commit"))
        self.reset()
        return signals

    def _judge(self, probability: float) -> list[TurnSignal]:
        voiced = probability >= self._rules.threshold
        if self._phase is _Phase.QUIET:
            return self._wait_for_speech(voiced)
        if self._phase is _Phase.DEAF:
            if voiced:
                self._last_voice = self._position
            elif self._position - self._last_voice >= ms_to_samples(self._rules.pause_ms):
                self.reset()
            return []
        faint = self._phase is _Phase.SPEECH and probability >= self._rules.threshold - _HYSTERESIS
        return self._wait_for_end(voiced, voiced or faint)

    def _wait_for_speech(self, voiced: bool) -> list[TurnSignal]:
        if voiced:
            if not self._voiced:
                self._begin = self._position - WINDOW_SAMPLES
            self._voiced += WINDOW_SAMPLES
            self._last_voice = self._position
            if self._voiced >= ms_to_samples(self._rules.min_speech_ms):
                self._phase = _Phase.SPEECH
                return [SpeechBegan(self._begin)]
        elif self._position - self._last_voice >= ms_to_samples(_CANDIDATE_GAP_MS):
            self._voiced = 0
        return []

    def _wait_for_end(self, voiced: bool, goes_on: bool) -> list[TurnSignal]:
        rules = self._rules
        signals: list[TurnSignal] = []
        if goes_on:
            self._last_voice = self._position
        if voiced and self._phase is _Phase.PAUSED:
            self._phase = _Phase.SPEECH
            signals.append(SpeechResumed(self._position - WINDOW_SAMPLES))
        if self._phase is _Phase.SPEECH:
            unjudged_ms = rules.end_silence_ms if rules.eagerness is None else WAITS[rules.eagerness].longest_ms
            self._end_silence, self._probability = ms_to_samples(unjudged_ms), None
        if ended := self._end_by_silence():
            signals += ended
        elif self._position + WINDOW_SAMPLES - self._begin > ms_to_samples(rules.max_turn_ms - rules.pre_roll_ms):
            self._phase = _Phase.DEAF
            signals.append(SpeechEnded(self._position, "max_turn"))
        elif self._phase is _Phase.SPEECH and self._position - self._last_voice >= ms_to_samples(rules.pause_ms):
            self._phase = _Phase.PAUSED
            signals.append(SpeechPaused(self._last_voice))
        return signals

    def _end_by_silence(self) -> list[TurnSignal]:
        if self._position - self._last_voice < self._end_silence:
            return []
        self.reset()
        return [SpeechEnded(self._last_voice, "silence", self._probability)]
