"""The scripted conversations of `benchmarks/scenarios/`, one YAML file a category.

A conversation has an `id` and either the fields of its only turn or a list of `turns`. A turn is a text that is said,
or a mapping: `say`, the checks of `benchmarks.talk.checks` by name, and `right` and `wrong`: answers that must pass and
must fail these checks (the tests try them all). A turn without checks only sets the scene. `zone` is the IANA time zone
that the client sends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import yaml

from benchmarks.talk import checks

FOLDER = Path(__file__).resolve().parent.parent / "scenarios"
CATEGORIES = (
    "facts", "arithmetic", "common_sense", "spelling", "instructions", "memory", "follow_ups", "small_talk", "identity",
    "cannot", "unclear", "harm", "date_time",
)  # fmt: skip
Half = Literal["dev", "held-out"]
HALVES: tuple[Half, Half] = ("dev", "held-out")


class ScenarioError(ValueError):
    """A scenario file does not say what it should; the message names the file and the conversation."""


@dataclass(frozen=True)
class Turn:
    """What is said, and what its answer must fulfil."""

    say: str
    checks: Mapping[str, Any]
    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class Conversation:
    """One connection: turns that are said one after the other."""

    id: str
    category: str
    turns: tuple[Turn, ...]
    half: Half
    zone: ZoneInfo | None = None

    @property
    def digest(self) -> bytes:
        """SHA-256 of the id: what is drawn by it never changes."""
        return _digest(self.id)


@cache
def conversations() -> tuple[Conversation, ...]:
    """All of them, by category. Raises `ScenarioError`."""
    found = [one for category in CATEGORIES for one in read(FOLDER / f"{category}.yaml")]
    ids = [one.id for one in found]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise ScenarioError(f"{FOLDER}: {', '.join(twice)} stand twice; every id must be its own")
    return tuple(found)


def read(path: Path) -> list[Conversation]:
    """The conversations of one file, whose name is the category. Raises `ScenarioError`.

    Each two that follow each other are one of either half; the first bit of the SHA-256 of the first one's id tells
    which. So new ones are appended, and what half a conversation belongs to nobody chooses.
    """
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    for entry in entries:
        if not isinstance(entry.get("id"), str):
            raise ScenarioError(f"{path}: a conversation has no id: {entry!r}")
    return [
        _conversation(path, entry, HALVES[(_digest(entries[number & ~1]["id"])[0] >> 7) ^ (number & 1)])
        for number, entry in enumerate(entries)
    ]


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def _conversation(path: Path, entry: Mapping[str, Any], half: Half) -> Conversation:
    fields = dict(entry)
    name, zone = fields.pop("id"), fields.pop("zone", None)
    turns = fields.pop("turns") if "turns" in fields else [fields]
    try:
        said = tuple(_turn(turn) for turn in turns)
        if not any(turn.checks for turn in said):
            raise ValueError("no turn has a check")
        return Conversation(name, path.stem, said, half, ZoneInfo(zone) if zone else None)
    except (ValueError, KeyError, TypeError) as error:
        raise ScenarioError(f"{path}, {name}: {error}") from error


def _turn(entry: str | Mapping[str, Any]) -> Turn:
    if isinstance(entry, str):
        return Turn(entry, {})
    fields = dict(entry)
    say, right, wrong = fields.pop("say"), fields.pop("right", ()), fields.pop("wrong", ())
    if unknown := fields.keys() - checks.NAMES:
        raise ValueError(f"unknown checks {sorted(unknown)}; there are {sorted(checks.NAMES)}")
    return Turn(say, {name: _argument(value) for name, value in fields.items()}, _texts(right), _texts(wrong))


def _argument(value: Any) -> Any:
    """A check's argument; phrases that YAML reads as numbers are phrases again, and `yes` and `no` must be quoted."""
    if not isinstance(value, list):
        return value
    if any(isinstance(one, bool) or one is None for one in value):
        raise ValueError(f"{value} holds a truth value or nothing; write 'yes' and 'no' in quotes")
    return [_argument(one) if isinstance(one, list) else one for one in value]


def _texts(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def chosen(half: Half | Literal["all"], categories: Sequence[str] = (), count: int | None = None) -> list[Conversation]:
    """Those of a half and of categories (none: all). With a `count` a fixed spread: as many of each category as of the
    others, or one more; within a category in the order of their digests."""
    if unknown := set(categories) - set(CATEGORIES):
        raise ScenarioError(f"no category {', '.join(sorted(unknown))}; there are {', '.join(CATEGORIES)}")
    found = [
        one
        for one in conversations()
        if half in ("all", one.half) and (not categories or one.category in categories)
    ]  # fmt: skip
    if count is None or count >= len(found):
        return found
    ranks: dict[str, list[Conversation]] = {}
    for one in sorted(found, key=lambda one: one.digest):
        ranks.setdefault(one.category, []).append(one)
    rounds = sorted(found, key=lambda one: (ranks[one.category].index(one), CATEGORIES.index(one.category)))
    picked = {one.id for one in rounds[:count]}
    return [one for one in found if one.id in picked]
