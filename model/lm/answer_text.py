"""What is said of the text that the model writes: words without markup, whole sentences, nothing twice."""

from __future__ import annotations

import re

from model.abbreviations import ABBREVIATIONS, DOTTED, TITLES
from model.lm.markup import MarkupFilter

SENTENCE_TOKENS = 60
"""Longer than nearly every spoken sentence. One that begins when fewer tokens are left is said once it is complete."""
_REPEATED_WORDS = 4
"""A clause of so many words is not said twice in an answer."""
_CLOSING = "\"'”’)]"
_CLAUSE_ENDS = ",;:"
_DOTTED_LETTERS = re.compile(r"(?:[A-Za-z]\.)+[A-Za-z]")
_OPENING = "\"'“‘(["


def ends_sentence(word: str, before: str = "") -> bool:
    """Whether a sentence ends after a word, by its marks and the word before it."""
    core = word.rstrip(_CLOSING)
    if core.endswith(("!", "?", "…")):
        return True
    if not core.endswith("."):
        return False
    name = core.rstrip(".").lstrip(_OPENING)
    if name.lower() in TITLES:
        return not name[:1].isupper()
    if name.lower() in ABBREVIATIONS or name.lower() in DOTTED or _DOTTED_LETTERS.fullmatch(name):
        return False
    initial = len(name) == 1 and name.isupper() and name != "I"
    return not initial or before.endswith(",")  # the last letter of a word that was spelled aloud


class AnswerText:
    """One answer's text, from what the model writes to what is said. Both come in pieces.

    The text ends before a sentence that was said already, before a clause of four words or more that was, and after
    `max_sentences` sentences. Words that may still turn out to be a repetition are held back, and so is a sentence
    that begins near the token limit, so that the text ends with a whole sentence there.
    """

    def __init__(self, max_sentences: int | None = None) -> None:
        """`max_sentences`: None for as many as the model writes."""
        self._filter = MarkupFilter()
        self._max_sentences = max_sentences
        self._held: list[str] = []  # words that are not said yet
        self._sentence: list[str] = []  # keys of the words of the sentence so far
        self._clause: list[str] = []
        self._sentences: set[tuple[str, ...]] = set()
        self._clauses: set[tuple[str, ...]] = set()
        self._before = ""
        self._mark = ""  # a comma that is said when the clause after it is
        self._spaced = True  # the next word needs no space before it
        self._guarded = False  # the sentence is said once it is complete
        self.ended = False
        """Nothing more is said: the model need not write on."""
        self.limited = False
        """It ended because all sentences that were asked for were said, and the model wrote another."""

    def push(self, text: str, tokens_left: int) -> str:
        """More of the model's text → more of what is said.

        `tokens_left`: how many tokens the model may still write.
        """
        if self.ended:
            return ""
        said = "".join(self._take(word, tokens_left) for word in self._filter.push(text))
        if self._filter.ended:
            return said + self.finish()
        if said and not self.ended and not self._held and self._will_say(self._filter.follows, tokens_left):
            self._spaced = True  # a space completes the last word: the voice need not wait for the next one
            said += " "
        return said

    def finish(self, cut: bool = False) -> str:
        """What is still to be said. `cut`: the model was stopped at its token limit, in the middle of something."""
        if self.ended:
            return self._closing_mark()
        words = self._filter.finish()
        cut = cut and not (words and ends_sentence(words[-1]))
        said = "".join(self._take(word, 0) for word in words[:-1] if not self.ended)
        if words and not self.ended and not (cut and (self._sentences or len(self._sentence) > 1)):
            said += self._take(words[-1], 0)  # else it may be half a word
        repeated = tuple(self._sentence) in self._sentences
        if not self.ended and not repeated and not (cut and self._sentences and self._whole_is_held):
            said += self._release()
        self.ended = True
        return said + self._closing_mark()

    def _will_say(self, first: str, tokens_left: int) -> bool:
        """Whether a word that begins so is said as soon as it is complete."""
        if not first or self._mark or self._full or self._guarded:
            return False
        if self._clause:  # it began as no other did
            return True
        begun = self._clauses if self._sentence else self._clauses | self._sentences
        may_repeat = any(words[0].startswith(first) for words in begun)
        return not may_repeat and (bool(self._sentence) or not self._sentences or tokens_left >= SENTENCE_TOKENS)

    @property
    def _full(self) -> bool:
        """Every sentence that was asked for is complete."""
        return self._max_sentences is not None and self._count >= self._max_sentences and not self._sentence

    @property
    def _count(self) -> int:
        return len(self._sentences)

    @property
    def _whole_is_held(self) -> bool:
        """Nothing of the sentence has been said yet."""
        return len(self._held) == len(self._sentence)

    def _take(self, word: str, tokens_left: int) -> str:
        """One word of the model's → what may be said now."""
        if self.ended:
            return ""
        if self._full:
            self.ended = self.limited = True
            return ""
        if not self._sentence:
            self._guarded = bool(self._sentences) and tokens_left < SENTENCE_TOKENS
        key = "".join(filter(str.isalnum, word)).lower()
        self._held.append(word)
        self._sentence.append(key)
        self._clause.append(key)
        sentence_ends = ends_sentence(word, self._before)
        clause_ends = sentence_ends or word[-1] in _CLAUSE_ENDS
        self._before = word
        if (sentence_ends and tuple(self._sentence) in self._sentences) or (clause_ends and self._repeats_clause()):
            self.ended = True
            return self._before_repetition()
        if not clause_ends and self._may_repeat():
            return ""
        may_end_here = not sentence_ends and tuple(self._sentence) in self._sentences
        said = "" if may_end_here or (self._guarded and not sentence_ends) else self._release()
        if clause_ends:
            self._end_clause(sentence_ends)
        return said

    def _repeats_clause(self) -> bool:
        return len(self._clause) >= _REPEATED_WORDS and tuple(self._clause) in self._clauses

    def _may_repeat(self) -> bool:
        """What is held begins as a sentence or clause did that was said."""
        sentence, clause = tuple(self._sentence), tuple(self._clause)
        return any(said[: len(sentence)] == sentence for said in self._sentences) or any(
            said[: len(clause)] == clause for said in self._clauses
        )

    def _end_clause(self, sentence_ends: bool) -> None:
        if len(self._clause) >= _REPEATED_WORDS:
            self._clauses.add(tuple(self._clause))
        self._clause = []
        if sentence_ends:
            self._sentences.add(tuple(self._sentence))
            self._sentence, self._guarded = [], False

    def _before_repetition(self) -> str:
        """Of the words that are held, those before the repeated clause or sentence."""
        before = tuple(self._sentence[: -len(self._clause)])
        all_repeats = tuple(self._sentence) in self._sentences or before in self._sentences
        repeated = len(self._sentence) if all_repeats else len(self._clause)
        self._held = self._held[: max(0, len(self._held) - repeated)]
        said = self._release()
        return said + self._closing_mark()

    def _release(self) -> str:
        """Say the words that are held. A comma at their end waits: a full stop takes its place if nothing follows."""
        if not self._held:
            return ""
        words, self._held = " ".join(self._held), []
        said = f"{self._mark}{words}" if self._spaced and not self._mark else f"{self._mark} {words}"
        self._mark, self._spaced = "", False
        if said[-1] in _CLAUSE_ENDS and self._clauses_known:
            said, self._mark = said[:-1], said[-1]
        return said

    @property
    def _clauses_known(self) -> bool:
        """A clause may be repeated from here on."""
        return bool(self._clauses) or len(self._clause) >= _REPEATED_WORDS

    def _closing_mark(self) -> str:
        """In place of a comma after which nothing is said."""
        mark, self._mark = self._mark, ""
        return "." if mark else ""
