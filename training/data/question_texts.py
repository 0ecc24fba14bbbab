"""What is asked aloud, endlessly varied: the texts that the ear adapter learns to hear.

Sentences of the rows that the body wrote, whole or with words swapped for others; patterns of everyday talk filled with
names, numbers, places and things; lists of words, so that every word of the pronouncing lexicon may occur. The texts of
`training.voices`, on which ears are measured, and every 25th row never occur.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

from num2words import num2words

from model.text import speakable
from training.data.speech import Texts
from training.voices import TEXTS

LONGEST_WORDS = 16

_PATTERNS = Path(__file__).with_name("question_patterns.txt")
"""What may fill a slot, "slot: one,other,…" a line; then, after an empty line, the patterns."""


def plain(text: str) -> str:
    """The words alone, in small letters: two texts that sound alike are equal."""
    return " ".join(re.sub(r"[^a-z' ]+", " ", text.lower()).split())


class Questions:
    """Draws texts to speak. Their letters are those of `speakable`: numbers are words."""

    def __init__(self, path: Path, rng: random.Random) -> None:
        self.rng = rng
        texts = Texts(path, rng)
        texts.refresh()
        self.lexicon, self.common = texts.words, texts.common
        self.forbidden = {plain(text) for text in (*TEXTS, *texts.held_out)}
        sentences = {part for text in texts.trained for part in re.split(r"(?<=[.?!])\s+", text)}
        self.sentences = sorted(s for s in sentences if 2 <= len(s.split()) <= 30)
        slots, patterns = _PATTERNS.read_text().split("\n\n")
        self.slots = {name: words.split(",") for name, words in (line.split(": ") for line in slots.splitlines())}
        self.patterns = patterns.splitlines()

    def __call__(self) -> str:
        while True:
            text = speakable(self._draw())
            if text and plain(text) not in self.forbidden:
                return text[:1].upper() + text[1:]

    def word(self) -> str:
        return self.rng.choice(self.common if self.rng.random() < 0.55 else self.lexicon)

    def from_pattern(self) -> str:
        """A pattern of everyday talk, filled."""
        return re.sub(r"\{(\w+)\}", self._fill, self.rng.choice(self.patterns))

    def _draw(self) -> str:
        kind = self.rng.random()
        if kind < 0.42:
            return self._clip(self.rng.choice(self.sentences))
        if kind < 0.58:
            share = self.rng.uniform(0.1, 0.5)
            words = self._clip(self.rng.choice(self.sentences)).split()
            return " ".join(self._swap(word) if self.rng.random() < share else word for word in words)
        if kind < 0.86:
            return self.from_pattern()
        words = [self.word() for _ in range(self.rng.randint(1, 8))]
        return " ".join(words) + self.rng.choice("..?")

    def _clip(self, sentence: str) -> str:
        """A sentence, or a stretch of a long one."""
        words = sentence.split()
        longest = LONGEST_WORDS if self.rng.random() < 0.25 else 10
        if len(words) <= longest:
            return sentence
        count = self.rng.randint(4, longest)
        start = self.rng.choice((0, len(words) - count, self.rng.randint(0, len(words) - count)))
        return " ".join(words[start : start + count])

    def _swap(self, word: str) -> str:
        return self.word() + re.sub(r"[A-Za-z']", "", word)

    def _fill(self, match: re.Match[str]) -> str:
        slot = match[1]
        if slot == "word":
            return self.word()
        if slot == "number":
            return str(num2words(self.rng.choice((self.rng.randint(0, 20), self.rng.randint(0, 100), 1000))))
        if slot == "year":
            return str(num2words(self.rng.randint(1400, 2030), to="year"))
        if slot == "clock":
            hour = num2words(self.rng.randint(1, 12))
            return f"{hour} {self.rng.choice(('thirty', 'fifteen', 'forty five', 'in the morning', 'p.m.', 'am'))}"
        if slot == "digits":
            return " ".join(num2words(self.rng.randint(0, 9)) for _ in range(self.rng.randint(3, 6)))
        return self.rng.choice(self.slots[slot])
