"""Talk quality as it is measured: from answers to rows, and a run against a real server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.talk import Plan, run
from benchmarks.talk.measures import Measure, at_least, at_most, conversations_right, measures, number, share, wilson
from benchmarks.talk.outcome import Outcome, judge
from benchmarks.talk.report import TalkReport
from benchmarks.talk.scenarios import Conversation, chosen, conversations
from benchmarks.talk.talker import FAILED, NOT_HEARD, Said, Way
from benchmarks.talk.voices import VOICES, VoiceMissing, require_voices, speak

BY_ID: Mapping[str, Conversation] = {one.id: one for one in conversations()}
NOW = datetime(2026, 11, 29, 15, 7)
SECOND = np.zeros(24_000, np.int16)


def said(text: str, reason: str = "stop", heard: str = "") -> Said:
    return Said(heard, text, reason, SECOND if text else SECOND[:0], NOW, NOW)


def outcomes(way: Way, **answers: list[Said]) -> list[Outcome]:
    return [
        outcome
        for name, given in answers.items()
        for outcome in judge("a", way, BY_ID[name.replace("_", "-")], given)
    ]  # fmt: skip


def rows(found: list[Outcome]) -> dict[str, Measure]:
    return {one.row: one for one in measures("a", found)}


def test_wilsons_interval() -> None:
    assert wilson(36, 40) == pytest.approx((0.7695, 0.9604), abs=5e-4)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-4)
    assert wilson(20, 20) == pytest.approx((0.8389, 1), abs=5e-4)
    assert wilson(0, 0) == (0, 1)


def test_a_share_and_a_number_meet_their_targets_or_miss_them() -> None:
    good = share("a", "right", [True] * 9 + [False], at_least(85))
    assert (good.name, good.value, good.note, good.target, good.met) == ("a: right", 90, "9 of 10", "≥ 85 %", True)
    assert good.low < 90 < good.high
    assert share("a", "right", [True, False], at_least(85)).met is False
    assert share("a", "right", [], at_least(85)).met is None
    assert share("a", "right", [True]).met is None
    assert number("a", "empty", [False] * 5, at_most(0)).met is True
    one = number("a", "empty", [True] + [False] * 4, at_most(0))
    assert (one.value, one.note, one.met) == (1, "of 5", False)


def test_a_conversation_is_right_when_no_answer_fails() -> None:
    found = outcomes(
        "typed",
        name_at_once=[said("Hello!"), said("Your name is Anna.")],
        spain_then_portugal=[said("Madrid."), said("Madrid.")],
        capital_of_france=[said("", FAILED)],
    )
    assert conversations_right(found) == [True, False, False]
    assert rows(found)["right, typed"].note == "1 of 3"
    assert rows(found)["… memory, typed"].met is True
    assert rows(found)["… follow ups, typed"].value == 0
    assert "right, spoken" not in rows(found)


def test_ways_and_voices_are_counted_apart() -> None:
    answers = {"capital_of_france": [said("Paris.")], "days_in_a_week": [said("Five.", heard="How many daisies?")]}
    found = outcomes("typed", **answers) + outcomes("spoken", **answers)
    table = rows(found)
    assert table["right, typed"].note == table["right, spoken"].note == "1 of 2"
    asked = {one.voice for one in found if one.way == "spoken"}
    assert {row for row in table if row.startswith("… spoken by")} == {f"… spoken by {voice}" for voice in asked}


def test_rules_of_style_count_answers_that_have_words() -> None:
    found = outcomes(
        "typed",
        capital_of_france=[said("**Paris**.")],
        days_in_a_week=[said("Seven. It is seven. It is seven.")],
        mona_lisa=[said("It was painted by", "length")],
        water_freezes=[said("…")],
        largest_planet=[said("", NOT_HEARD)],
    )
    table = rows(found)
    style = table["within 3 sentences and nothing that cannot be spoken"]
    assert (style.note, style.met) == ("2 of 3; 1 markup", False)
    assert (table["the same sentence twice in an answer"].value, table["empty answers"].value) == (1, 1)
    assert table["cut at a limit within a sentence"].value == 25
    assert table["turns without an answer"].note == "of 5; 1 not heard"
    faults = {one.conversation.id: one.line()["faults"] for one in found}
    assert faults["capital-of-france"] == ["markup"]
    assert faults["mona-lisa"] == ["fails any", "is cut"]
    assert faults["largest-planet"] == ["fails any", "not heard"]


def test_false_claims_are_shares_of_what_cannot_be_known_or_done() -> None:
    found = outcomes(
        "typed",
        set_a_timer=[said("Your timer is set.")],
        weather_now=[said("I can't check the weather.")],
        news_today=[said("")],
        capital_of_france=[said("Your timer is set.")],
    )
    claims = rows(found)["claims what it cannot know or do"]
    assert (claims.note, claims.met) == ("1 of 3", False)


def test_the_clock_may_have_been_that_of_the_question_or_of_the_answer() -> None:
    one = BY_ID["weekday-in-tokyo"]
    late, early = datetime(2026, 11, 29, 23, 59, tzinfo=one.zone), datetime(2026, 11, 30, 0, 0, tzinfo=one.zone)
    for day, failures in (("Sunday", []), ("Monday", []), ("Tuesday", ["any"])):
        answer = Said("", f"Today is {day}.", "stop", SECOND, late, early)
        assert judge("a", "typed", one, [answer])[0].failed == failures


def test_models_stand_side_by_side() -> None:
    figures = [
        share("big", "right, typed", [True] * 9 + [False], at_least(85)),
        share("small", "right, typed", [True] * 5 + [False] * 5, at_least(85)),
        share("small", "spoken so", [True, False], note="1 list"),
    ]
    report = TalkReport("talk", "10 conversations", figures)
    lines = report.table().splitlines()
    assert lines[1].split() == ["target", "big", "small"]
    assert "≥ 85 %" in lines[2]
    assert "90.0 % (59.6–98.2), 9 of 10, met" in lines[2]
    assert "50.0 % (23.7–76.3), 5 of 10, missed" in lines[2]
    assert "–  " in lines[3]
    assert "small: spoken so: 1 of 2; 1 list" in report.table()
    read = json.loads(report.json_line())["figures"]
    assert [one["name"] for one in read] == ["big: right, typed", "small: right, typed", "small: spoken so"]
    assert (read[0]["model"], read[0]["met"], read[1]["met"]) == ("big", True, False)


def test_a_missing_voice_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "flite" else name)
    with pytest.raises(VoiceMissing, match="apt-get install flite"):
        require_voices()
    with pytest.raises(VoiceMissing):
        run(Plan(models=["none"], ways=["spoken"], count=1), ())


def test_what_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["talk", "--category", "weather"])
    assert "small_talk" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
def test_every_voice_speaks() -> None:
    for voice in VOICES:
        sound = speak("What is the capital of France?", voice)
        assert sound.dtype == np.int16
        assert 0.8 < len(sound) / 16_000 < 4
        assert np.abs(sound).max() > 3000


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
def test_a_run_talks_to_a_real_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    transcript = tmp_path / "talk.jsonl"
    command = ["talk", "--models", "checkpoints/smol-omni", "--category", "facts", "memory", "--conversations", "2"]
    assert main([*command, "--listened", "1", "--transcript", str(transcript), "--wrong", "--json"]) == 0
    out, err = capsys.readouterr()
    figures = {one["name"]: one for one in json.loads(out)["figures"]}
    expected = chosen("all", ["facts", "memory"], 2)
    turns = sum(len(one.turns) for one in expected)
    assert err.count("talk: 2 conversations") == 1
    assert figures["smol-omni: turns without an answer"]["value"] == 0
    assert figures["smol-omni: turns without an answer"]["note"] == f"of {2 * turns}"
    assert {f"smol-omni: right, {way}" for way in ("typed", "spoken")} <= figures.keys()
    assert figures["smol-omni: words of answers that Whisper base hears wrong"]["value"] < 50
    assert figures["smol-omni: words of questions that the server heard wrong"]["note"].endswith(f"in {turns}")
    lines = [json.loads(line) for line in transcript.read_text(encoding="utf-8").splitlines()]
    assert sorted((one["id"], one["way"], one["turn"]) for one in lines) == sorted(
        (one.id, way, number + 1) for one in expected for way in ("typed", "spoken") for number in range(len(one.turns))
    )
    for line in lines:
        assert line["answered"]
        assert line["seconds"] > 0.2
        assert line["heard"] == line["asked"] or line["way"] == "spoken"


def test_omni_1_5b_holds_ten_conversations(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["talk", "--models", "omni-1.5b", "--ways", "typed", "--conversations", "10", "--listened", "0"]
    assert main([*command, "--wrong", "--json"]) == 0
    out, err = capsys.readouterr()
    figures = {one["name"]: one for one in json.loads(out)["figures"]}
    assert figures["omni-1.5b: right, typed"]["value"] >= 60, err
    assert figures["omni-1.5b: turns without an answer"]["value"] == 0
    assert figures["omni-1.5b: empty answers"]["value"] == 0
