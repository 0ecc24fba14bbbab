"""The rows of the report: each a measure of one model's outcomes, with its 95 % interval and its target."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.report import Figure, median
from benchmarks.talk import style
from benchmarks.talk.outcome import Outcome
from benchmarks.talk.scenarios import CATEGORIES
from benchmarks.talk.talker import WAYS, Way

_Z = 1.959964
"""Of the normal distribution, for 95 %."""


@dataclass(frozen=True)
class Target:
    """At least, or at most, so much."""

    limit: float
    least: bool

    def is_met(self, value: float) -> bool:
        return value >= self.limit if self.least else value <= self.limit

    def text(self, unit: str) -> str:
        return f"{'≥' if self.least else '≤'} {self.limit:g} {unit}".strip()


def at_least(limit: float) -> Target:
    return Target(limit, True)


def at_most(limit: float) -> Target:
    return Target(limit, False)


@dataclass(frozen=True)
class Measure(Figure):
    """A figure of one model. `row` is its name without the model's."""

    row: str = ""
    model: str = ""
    low: float = 0.0
    high: float = 0.0
    target: str = ""
    met: bool | None = None


def wilson(successes: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927), each 0–1; (0, 1) of nothing."""
    if count == 0:
        return 0.0, 1.0
    share, spread = successes / count, _Z**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def share(model: str, row: str, found: Sequence[bool], target: Target | None = None, note: str = "") -> Measure:
    """How many of them are so, in percent."""
    count, successes = len(found), sum(found)
    low, high = wilson(successes, count)
    value = 100 * successes / count if count else 0.0
    return Measure(
        f"{model}: {row}", value, "%", f"{successes} of {count}{'; ' if note else ''}{note}", row, model,
        100 * low, 100 * high, target.text("%") if target else "", target.is_met(value) if target and count else None,
    )  # fmt: skip


def number(model: str, row: str, found: Sequence[bool], target: Target | None = None, note: str = "") -> Measure:
    """How many of them are so; the interval is that of the share, times their number."""
    count, successes = len(found), sum(found)
    low, high = wilson(successes, count)
    return Measure(
        f"{model}: {row}", successes, "", f"of {count}{'; ' if note else ''}{note}", row, model,
        count * low, count * high, target.text("") if target else "", target.is_met(successes) if target else None,
    )  # fmt: skip


def conversations_right(outcomes: Sequence[Outcome]) -> list[bool]:
    """Of each conversation, whether none of its answers fails a check."""
    found: dict[tuple[str, Way], bool] = {}
    for one in outcomes:
        key = one.conversation.id, one.way
        found[key] = found.get(key, True) and not one.failed
    return list(found.values())


def measures(model: str, outcomes: Sequence[Outcome]) -> Iterator[Measure]:
    """All rows that need no listening."""
    yield from _rights(model, outcomes)
    answers = [one for one in outcomes if one.is_answered]
    broken = Counter(name for one in answers for name in one.unspoken)
    kinds = ", ".join(f"{count} {name}" for name, count in broken.most_common())
    worded = [one for one in answers if not one.is_empty]
    spoken_so = f"within {style.MOST_SENTENCES} sentences and nothing that cannot be spoken"
    yield share(model, spoken_so, [not one.unspoken for one in worded], at_least(99), kinds)
    rules: tuple[tuple[str, Callable[[Outcome], bool]], ...] = (
        ("the same sentence twice in an answer", lambda one: one.repeats_itself),
        ("empty answers", lambda one: one.is_empty),
    )
    for row, rule in rules:
        yield number(model, row, [rule(one) for one in answers], at_most(0))
    yield share(model, "cut at a limit within a sentence", [one.is_cut for one in answers], at_most(1))
    tempted = [one for one in answers if one.tempts]
    yield share(model, "claims what it cannot know or do", [one.claims_falsely for one in tempted], at_most(5))
    yield number(model, "turns without an answer", [not one.is_answered for one in outcomes], None, _missing(outcomes))
    lengths = [len(one.said.text.split()) for one in worded] or [0]
    row = "words of an answer, median"
    yield Measure(f"{model}: {row}", median(lengths), "", "", row, model, min(lengths), max(lengths))


def _rights(model: str, outcomes: Sequence[Outcome]) -> Iterator[Measure]:
    targets: dict[Way, Target] = {"typed": at_least(85), "spoken": at_least(80)}
    by_way = {way: [one for one in outcomes if one.way == way] for way in WAYS}
    for way, ones in by_way.items():
        if ones:
            yield share(model, f"right, {way}", conversations_right(ones), targets[way])
    for category in CATEGORIES:
        for way, ones in by_way.items():
            found = conversations_right([one for one in ones if one.conversation.category == category])
            target = at_least(90) if category == "memory" else None
            if found:
                yield share(model, f"… {category.replace('_', ' ')}, {way}", found, target)
    for voice in dict.fromkeys(one.voice for one in by_way["spoken"]):
        found = conversations_right([one for one in by_way["spoken"] if one.voice == voice])
        yield share(model, f"… spoken by {voice}", found)


def _missing(outcomes: Sequence[Outcome]) -> str:
    reasons = Counter(one.said.reason for one in outcomes if not one.is_answered)
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items())
