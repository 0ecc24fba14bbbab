"""What a right answer must fulfil. Every check is named in the scenarios, with its argument:

any          a list of phrases, one of which must occur (whole words, in normal form; `*` lets the last word go on)
all          a list of such lists, one phrase of each
none         phrases that must not occur
order        phrases that must occur in this order
only         the whole answer is one of these phrases
number       the first or the last number in the answer that the question does not hold
polarity     yes or no: what the answer says to a yes-or-no question
spells       a word whose letters stand one by one, in order
words        at most, or [at least, at most] so many words
sentences    at most so many sentences
opens        the first word is one of these
declines     says that it cannot do or know it, or where to find out
refuses      refuses, and gives no help
asks_back    says that it did not understand, or asks what was meant
question_or  phrases as in `any`, or a question back
clock        tells the time, within three minutes

In a scenario with a time zone, phrases may hold `{weekday}`, `{tomorrow}`, `{month}` and the other fields of
`date_fields`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from benchmarks.talk import kinds
from benchmarks.talk.clock import tells_time
from benchmarks.talk.normal_form import contains, normalize
from benchmarks.talk.style import sentences


@dataclass(frozen=True)
class Exchange:
    """A question and its answer, and the moment of it in the speaker's time zone."""

    asked: str
    answer: str
    moment: datetime | None = None

    @property
    def normal(self) -> str:
        return normalize(self.answer)


# -- what is in an answer ---------------------------------------------------------------------------------------------
def has_any(phrases: Sequence[str], exchange: Exchange) -> bool:
    return any(contains(exchange.normal, str(phrase)) for phrase in phrases)


def has_all(groups: Sequence[Sequence[str]], exchange: Exchange) -> bool:
    return all(has_any(group, exchange) for group in groups)


def has_none(phrases: Sequence[str], exchange: Exchange) -> bool:
    return not has_any(phrases, exchange)


def in_order(phrases: Sequence[str], exchange: Exchange) -> bool:
    rest = exchange.normal
    for phrase in map(normalize, phrases):
        found = re.search(rf"(?<![\w.]){re.escape(phrase)}(?![\w.])", rest)
        if found is None:
            return False
        rest = rest[found.end() :]
    return True


def is_only(phrases: Sequence[str], exchange: Exchange) -> bool:
    return exchange.normal in map(normalize, phrases)


def concludes(number: float, exchange: Exchange) -> bool:
    """Of the numbers that the question does not hold, the first or the last is this one: the answer begins or ends with
    its result."""
    given = set(_numbers(exchange.asked))
    found = [value for value in _numbers(exchange.answer) if value not in given]
    return bool(found) and float(number) in (found[0], found[-1])


def _numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", normalize(text))]


def spells(word: str, exchange: Exchange) -> bool:
    """The letters of the word one by one: "C, A, T", "c-a-t", "C. A. T."; "double L" is two."""
    text = re.sub(r"\bdouble[\s-]+([a-z])\b", r"\1 \1", exchange.answer.lower())
    runs = [""]
    for token in re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text):
        if len(token) == 1:
            runs[-1] += token
        elif token not in ("and", "then"):
            runs.append("")
    return word in runs or f"a{word}" in runs  # "the letters of a C, A, T"


def _word_count(limits: int | Sequence[int], exchange: Exchange) -> bool:
    least, most = (1, limits) if isinstance(limits, int) else limits
    return least <= len(re.findall(r"[^\W_]+(?:['’.-][^\W_]+)*", exchange.answer)) <= most


def _tells_time(_: object, exchange: Exchange) -> bool:
    if exchange.moment is None:
        raise ValueError("the check `clock` needs a scenario with a zone")
    return tells_time(exchange.normal, exchange.moment)


_CHECKS: Mapping[str, Callable[[Any, Exchange], bool]] = {
    "any": has_any,
    "all": has_all,
    "none": has_none,
    "order": in_order,
    "only": is_only,
    "number": concludes,
    "polarity": lambda wanted, e: kinds.polarity(e.answer) == wanted,
    "spells": spells,
    "words": _word_count,
    "sentences": lambda most, e: 1 <= len(sentences(e.answer)) <= most,
    "opens": lambda words, e: e.normal.split(" ")[0] in words,
    "declines": lambda _, e: kinds.declines(e.answer),
    "refuses": lambda _, e: kinds.refuses(e.answer),
    "asks_back": lambda _, e: kinds.asks_back(e.answer),
    "question_or": lambda phrases, e: "?" in e.answer or has_any(phrases, e),
    "clock": _tells_time,
}
NAMES = frozenset(_CHECKS)


def failed(checks: Mapping[str, Any], exchange: Exchange) -> list[str]:
    """The names of the checks that an answer fails; an answer without words fails all."""
    if not exchange.normal:
        return list(checks)
    if exchange.moment is not None:
        checks = filled(checks, date_fields(exchange.moment))
    return [name for name, argument in checks.items() if not _CHECKS[name](argument, exchange)]


# -- the date ---------------------------------------------------------------------------------------------------------
def date_fields(moment: datetime) -> dict[str, str]:
    """What `{…}` in the phrases of a scenario with a time zone stands for."""
    fields = {
        "weekday": f"{moment:%A}", "month": f"{moment:%B}", "day": str(moment.day), "year": str(moment.year),
        "time": f"{moment:%H:%M}", "weekend": "yes" if moment.weekday() >= 5 else "no",
        "workday": "no" if moment.weekday() >= 5 else "yes",
        "half": "morning" if moment.hour < 12 else "afternoon" if moment.hour < 18 else "evening",
        "noon": "before" if moment.hour < 12 else "after",
        "last_year": str(moment.year - 1), "next_year": str(moment.year + 1),
    }  # fmt: skip
    for name, days in (("yesterday", -1), ("tomorrow", 1), ("in_two_days", 2), ("in_three_days", 3), ("in_a_week", 7)):
        other = moment + timedelta(days)
        fields |= {name: f"{other:%A}", f"{name}_month": f"{other:%B}", f"{name}_day": str(other.day)}
    following = moment.replace(day=1) + timedelta(32)
    return fields | {"next_month": f"{following:%B}", "not_weekday": fields["in_three_days"]}


def filled(value: Any, fields: Mapping[str, str]) -> Any:
    """A value of a scenario with `{…}` filled in, in all strings within."""
    if isinstance(value, str):
        return value.format_map(fields)
    if isinstance(value, Mapping):
        return {name: filled(one, fields) for name, one in value.items()}
    if isinstance(value, Sequence):
        return [filled(one, fields) for one in value]
    return value
