"""The scripted conversations: complete, in halves, and each check passes right answers and fails wrong ones."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from benchmarks.talk.checks import Exchange, date_fields, failed, filled
from benchmarks.talk.scenarios import CATEGORIES, Conversation, ScenarioError, Turn, chosen, conversations, read
from benchmarks.talk.voices import VOICES, voice_of

MOMENTS = (datetime(2026, 11, 29, 15, 7), datetime(2027, 1, 1, 0, 5), datetime(2028, 12, 31, 12, 0))
CHECKED = [(one, turn) for one in conversations() for turn in one.turns if turn.checks]
FREE = ("small_talk", "instructions", "unclear", "identity", "harm", "cannot")
"""Categories in which the words of the question may be part of the answer."""


def test_there_are_enough_in_every_category_and_half() -> None:
    found = conversations()
    assert len(found) >= 240
    counts = Counter((one.category, one.half) for one in found)
    for category in CATEGORIES:
        dev, held_out = counts[category, "dev"], counts[category, "held-out"]
        assert dev + held_out >= 20
        assert abs(dev - held_out) <= 1


def test_none_is_there_twice() -> None:
    assert len({one.id for one in conversations()}) == len(conversations())
    asked = [tuple(turn.say.lower() for turn in one.turns) for one in conversations()]
    assert len(set(asked)) == len(asked)


def test_memory_reaches_over_two_to_ten_turns() -> None:
    lengths = {len(one.turns) for one in chosen("all", ["memory"])}
    assert {2, 3, 6, 8, 10} <= lengths
    assert max(lengths) == 10


def test_halves_follow_from_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "facts.yaml"
    entry = "- id: {}\n  say: What?\n  any: [x]\n"
    path.write_text("".join(entry.format(name) for name in "abcde"), encoding="utf-8")
    halves = {one.id: one.half for one in read(path)}
    assert halves["a"] != halves["b"]
    assert halves["c"] != halves["d"]
    path.write_text("".join(entry.format(name) for name in "abcdef"), encoding="utf-8")
    assert {one.id: one.half for one in read(path)}.items() >= halves.items()


def exchanges(one: Conversation, turn: Turn, answer: str) -> list[Exchange]:
    if one.zone is None:
        return [Exchange(turn.say, answer)]
    return [Exchange(turn.say, filled(answer, date_fields(moment)), moment) for moment in MOMENTS]


@pytest.mark.parametrize(("one", "turn"), CHECKED, ids=[f"{one.id}-{one.turns.index(turn)}" for one, turn in CHECKED])
def test_checks_pass_right_answers_and_fail_wrong_ones(one: Conversation, turn: Turn) -> None:
    assert turn.right
    assert turn.wrong
    for answer in turn.right:
        for exchange in exchanges(one, turn, answer):
            assert failed(turn.checks, exchange) == [], exchange.answer
    for answer in turn.wrong:
        for exchange in exchanges(one, turn, answer):
            assert failed(turn.checks, exchange), exchange.answer
    assert set(failed(turn.checks, Exchange(turn.say, ""))) == set(turn.checks)
    if one.category not in FREE and "polarity" not in turn.checks:
        for exchange in exchanges(one, turn, turn.say):
            assert failed(turn.checks, exchange), "the question said again passes"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- say: What?\n  any: [x]\n", "has no id"),
        ("- id: a\n  say: What?\n  anny: [x]\n", "unknown checks"),
        ("- id: a\n  say: What?\n", "no turn has a check"),
        ("- id: a\n  say: What?\n  only: [yes]\n", "quotes"),
        ("- id: a\n  any: [x]\n", "say"),
        ("- id: a\n  zone: Europe/Nowhere\n  say: What?\n  any: [x]\n", "Nowhere"),
    ],
)
def test_a_faulty_scenario_is_refused_with_its_file(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "facts.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError, match=said) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_a_count_is_a_fixed_spread_over_the_categories() -> None:
    ten = chosen("all", count=10)
    assert len(ten) == len({one.category for one in ten}) == 10
    many = chosen("held-out", count=30)
    assert {one.half for one in many} == {"held-out"}
    assert set(Counter(one.category for one in many).values()) == {2, 3}
    assert {one.id for one in ten} <= {one.id for one in chosen("all", count=40)}
    assert chosen("all", count=10_000) == list(conversations())
    assert {one.category for one in chosen("dev", ["memory"])} == {"memory"}
    with pytest.raises(ScenarioError, match="weather"):
        chosen("all", ["weather"])


def test_every_voice_asks_about_as_often_as_the_others() -> None:
    counts = Counter(voice_of(one) for one in conversations())
    assert set(counts) == set(VOICES)
    assert min(counts.values()) > len(conversations()) / len(VOICES) / 2
