"""Lays an answer's text on the time line while it is still being written."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from model.mouth import SAMPLES_PER_FRAME
from model.normalize.tokens import written_words
from model.spelling import spell
from model.text import join, spoken, waits
from model.timeline import DURATION_UNIT_SAMPLES, QUARTER_SAMPLES, neighbour_states, quarter_features
from model.vocabulary import DELAY

if TYPE_CHECKING:
    from model.tts_adapter import TtsAdapter

_SENTENCE_END = ".?!"


@dataclass(frozen=True)
class _Word:
    """A word to be spoken and where the answer's text stands when it has been."""

    spoken: str
    text_end: int


class SpeechPlanner:
    """Lays one answer's text on the time line while it is still being written.

    Text goes in by `feed` and `finish`; `condition(step)` is certain for `available` steps. Only as much is planned
    as the next steps need. Everything equals what the whole text at once would give.
    """

    AHEAD = 8
    """Steps planned ahead of the last one asked for."""
    LETTERS_AHEAD = 4
    """Letters after a word that may change how it is spoken. The network's reach is 18, but of 200 words none was
    spelled otherwise when it saw 2."""
    PHONEMES_AHEAD = 6
    """Phonemes after a word that may change its rhythm. The network's reach is 12; with 5, 0.8 % of the durations
    differ (by 25 ms). Both make the first sound wait for four or five words instead of ten."""

    def __init__(self, adapter: TtsAdapter, speed: float = 1.0) -> None:
        """At speed 2, everything takes half of its natural time."""
        self._adapter, self._speed = adapter, speed
        self._raw = ""
        self._taken = 0
        self._before = ""  # the written word that was taken last
        self._words: list[_Word] = []  # of the sentence that is being spelled, not yet spelled
        self._sentence = ""  # its letters so far, spelled ones too
        self._spelled = 0  # letters of it that are spelled
        self._ends: list[tuple[int, int]] = []  # (index of a word's last phoneme, text end)
        self._finished = False
        self._phonemes: list[int] = []
        self._closed = False  # no phoneme will be added
        width = adapter.config.width
        self._states = torch.zeros(0, width)
        self._encoded_words = 0  # of _ends
        self._durations: list[int] = []
        self._units = 0  # sum of the durations
        self._starts: list[int] = [0]  # samples; one more than there are durations
        self._frames = torch.zeros(0, width)
        self._asked = 0

    # -- text ---------------------------------------------------------------------------------------------------
    def feed(self, text: str) -> None:
        """More of the answer's text."""
        self._raw += text
        self._take_words()

    def finish(self) -> None:
        """The text is complete."""
        self._finished = True
        self._take_words()

    def _take_words(self) -> None:
        written = written_words(self._raw, self._taken)
        words = list(takewhile(lambda word: word.complete or self._finished, written))
        for index, word in enumerate(words):
            after = words[index + 1].text if index + 1 < len(words) else ""
            if not after and not self._finished and waits(word.text, self._before):
                return
            waiting = [one.spoken for one in self._words]
            said = join(waiting, spoken(word.text, self._before, after))
            self._before, self._taken = word.text, word.end
            if waiting:
                self._words[-1] = _Word(waiting[-1], self._words[-1].text_end)
            self._words += [_Word(one, word.end) for one in said]
            if not said and self._ends:
                self._ends.append((self._ends[-1][0], word.end))
        if self._finished and self._words:
            self._words[-1] = _Word(self._words[-1].spoken.rstrip(","), self._words[-1].text_end)

    def _sentence_length(self) -> int | None:
        """How many of the waiting words end the sentence; None while that is open."""
        for index, word in enumerate(self._words):
            if word.spoken[-1] not in _SENTENCE_END:
                continue
            if index + 1 == len(self._words):
                return index + 1 if self._finished else None
            if not self._words[index + 1].spoken[0].islower():
                return index + 1
        return len(self._words) if self._finished and self._words else None

    # -- phonemes -----------------------------------------------------------------------------------------------
    def _spell(self) -> bool:
        """Spell the words whose letters ahead are known; True if phonemes were added."""
        length = self._sentence_length()
        words = self._words[:length]
        if not words:
            self._closed = self._closed or (self._finished and not self._words)
            return False
        begins = not self._sentence
        prefix = self._sentence  # the spelled words of this sentence
        letters = " ".join([*([prefix] if prefix else []), *(w.spoken for w in words)])
        spelled = spell(letters)
        position = len(spell(prefix)) + 1 if prefix else 0
        added = False
        for word in words:
            end = position + len(spell(word.spoken))
            ahead = end + 1 + self.LETTERS_AHEAD
            if length is None and ahead > len(spelled):
                break
            if begins and not added:
                self._phonemes.append(0)
            if self._sentence:
                self._phonemes.append(self._adapter.config.space)
            self._phonemes += self._pronounce(spelled[:ahead], position, end)
            self._ends.append((len(self._phonemes) - 1, word.text_end))
            self._sentence = f"{self._sentence} {word.spoken}" if self._sentence else word.spoken
            position = end + 1
            self._words.pop(0)
            length = None if length is None else length - 1
            added = True
        if length == 0:
            self._phonemes.append(0)
            self._sentence = ""
        if self._finished and not self._words:
            self._closed = True
        return added

    def _pronounce(self, letters: list[int], begin: int, end: int) -> list[int]:
        """Phonemes of the word at `begin` … `end` of a sentence's letters, of which no more than these are seen."""
        spelling = self._adapter.spelling
        first = max(0, begin - spelling.reach)
        word = slice(begin - first, end - first + 1)
        logits = spelling(torch.tensor([letters[first:]]), torch.ones(1, len(letters) - first, 1), word)
        return spelling.read(logits[0].argmax(-1))

    # -- time ---------------------------------------------------------------------------------------------------
    def _encode(self) -> None:
        """States and durations of the phonemes whose surroundings are known, word by word."""
        count = len(self._phonemes)
        for last, _ in self._ends[self._encoded_words :]:
            if last + 1 + self.PHONEMES_AHEAD > count and not self._closed:
                return
            self._encoded_words += 1
            self._encode_until(last + 1)
        if self._closed:
            self._encode_until(count)

    def _encode_until(self, end: int) -> None:
        """The phonemes up to `end`, of which no more than the `PHONEMES_AHEAD` next are seen."""
        done = len(self._durations)
        if end <= done:
            return
        encoder = self._adapter.phoneme_encoder
        first = max(0, done - encoder.reach)
        ids = torch.tensor([self._phonemes[first : end + self.PHONEMES_AHEAD]])
        states, durations = encoder(ids, torch.ones(1, ids.shape[1], 1))
        self._states = torch.cat([self._states, states[0, done - first : end - first]])
        for units in durations[0, done - first : end - first].argmax(-1).tolist():
            self._durations.append(units)
            self._units += units
            self._starts.append(round(self._units * DURATION_UNIT_SAMPLES / self._speed))

    def _lay_out(self) -> None:
        """States of the frames whose surroundings are known."""
        encoder = self._adapter.frame_encoder
        known = self._starts[-1] if self._closed else self._starts[-2] if self._durations else 0
        # the phoneme after a quarter's own is part of what it is shown
        quarters = 4 * -(-known // SAMPLES_PER_FRAME) if self._closed else known // QUARTER_SAMPLES
        certain = quarters if self._closed else quarters - encoder.reach
        done = len(self._frames)
        frames = certain // 4
        if frames <= done:
            return
        first = max(0, 4 * done - encoder.reach)
        centre = (torch.arange(first, quarters) + 0.5) * QUARTER_SAMPLES
        every = torch.tensor(self._starts)
        starts, durations = every[:-1], every.diff()
        index = torch.searchsorted(starts, centre.long(), right=True) - 1
        neighbours = neighbour_states(self._states[None], index[None])
        features = quarter_features(centre, starts[index], durations[index])[None]
        states = self._encode_quarters(neighbours, features, first, done, frames)
        self._frames = torch.cat([self._frames, states])

    def _encode_quarters(self, neighbours: Tensor, features: Tensor, first: int, done: int, frames: int) -> Tensor:
        encoder = self._adapter.frame_encoder
        lead = first % 4  # frames are joined from whole fours
        neighbours = F.pad(neighbours, (0, 0, lead, -(lead + neighbours.shape[1]) % 4))
        features = F.pad(features, (0, 0, lead, neighbours.shape[1] - features.shape[1] - lead))
        mask = torch.ones(1, neighbours.shape[1], 1)
        mask[:, :lead] = 0
        skipped = done - first // 4
        joined: Tensor = encoder(neighbours, features, mask)[0, skipped : skipped + frames - done]
        return joined

    @torch.inference_mode()
    def _plan(self) -> None:
        while self._certain_steps() < self._asked + self.AHEAD and not self._complete():
            spelled = self._spell()
            self._encode()
            self._lay_out()
            if not spelled:
                return

    def _complete(self) -> bool:
        return (
            self._closed
            and len(self._frames) * SAMPLES_PER_FRAME >= self._starts[-1]
            and (len(self._durations) == len(self._phonemes))
        )

    def _certain_steps(self) -> int:
        return len(self._frames) + (DELAY if self._complete() and len(self._frames) else 0)

    # -- what the engine asks -----------------------------------------------------------------------------------
    @property
    def available(self) -> int:
        """Decoder steps whose condition is certain."""
        self._plan()
        return self._certain_steps()

    @property
    def frames(self) -> int | None:
        """Frames of the whole answer; None while that is open. The answer takes frames + 7 steps."""
        self._plan()
        return len(self._frames) if self._complete() else None

    @property
    def backlog(self) -> int:
        """Words that wait to be spelled: how far writing is ahead of speaking."""
        return len(self._words)

    def condition(self, step: int) -> Tensor:
        """What step `step` is shown, (condition_width,); `step` must be below `available`."""
        self._asked = max(self._asked, step)
        if step >= self._certain_steps():
            raise IndexError(f"step {step} is not planned yet: {self._certain_steps()} are available")
        first, last = step - DELAY, step + 1
        window = self._frames[max(0, first) : last]
        window = F.pad(window, (0, 0, max(0, -first), max(0, last - len(self._frames))))
        return window.flatten()

    def spoken_characters(self, frames: int) -> int:
        """How many characters of the text are spoken when `frames` frames have been played."""
        played, characters = frames * SAMPLES_PER_FRAME, 0
        for phoneme, text_end in self._ends:
            if phoneme + 1 >= len(self._starts) or self._starts[phoneme + 1] > played:
                break
            characters = text_end
        return characters
