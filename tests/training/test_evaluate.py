"""The evaluation: what counts as wrong, how sure a figure is, and the table of a whole checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hibari import Hibari
from whisper.normalizers import EnglishTextNormalizer

from model.checkpoint import EMBEDDED, find
from model.mouth import SAMPLE_RATE
from model.omni import MiniOmni
from model.text import speakable
from training.evaluate import TEXTS, EvaluationError, evaluate, put
from training.evaluate_ears import Recording
from training.flaws import bootstrap, find_flaws, mean, median, ratio
from training.kept import Kept, KeptError, Spoken, fingerprint
from training.likeness import distance, draw
from training.measures import (
    CARRIER,
    exact,
    first_sounds,
    heard_as_typed,
    lines,
    original_body,
    same_answers,
    unseen_questions,
    unseen_words,
)
from training.voices import TEXTS as TEXTS_SPOKEN
from training.voices import speak

SAID = "the capital of france is paris and it lies on the river seine which flows to the sea"


@pytest.mark.parametrize(
    ("heard", "wrong", "kinds"),
    [
        (SAID, 0, ""),
        (SAID.replace("seine", "sane"), 1, ""),
        ("the capital of france is paris and it lies", 9, "breaks_off"),
        (SAID.replace("it lies on the river ", ""), 5, "breaks_off"),
        ("", 18, "breaks_off"),
        (SAID.replace("paris", "paris paris"), 1, "stutters"),
        (SAID.replace("the river seine", "the river the river seine"), 2, "stutters"),
        (f"{SAID} and so on and on", 5, "runs_on"),
        (SAID.replace("which flows", "which of course flows"), 2, ""),
        (SAID.replace("to the sea", "to sea"), 1, ""),
    ],
)
def test_flaws_are_told_from_misheard_words(heard: str, wrong: int, kinds: str) -> None:
    flaws = find_flaws(SAID, heard)
    assert (flaws.words, flaws.wrong) == (18, wrong)
    assert " ".join(kind for kind in ("breaks_off", "stutters", "runs_on") if getattr(flaws, kind)) == kinds
    assert flaws.flawed == bool(kinds)


def test_an_answer_without_words_is_flawed_when_something_is_heard() -> None:
    assert not find_flaws("", "").flawed
    assert find_flaws("", "thank you for watching").runs_on


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        words = random.integers(5, 40, 100)
        rows = np.stack([random.binomial(words, 0.05), words], 1)
        found = bootstrap(rows.tolist(), ratio, draws=400)
        assert found.low <= found.value <= found.high
        hits += found.low <= 0.05 <= found.high
    assert 180 <= hits <= 199
    wide, narrow = (bootstrap([[float(n % 2)] for n in range(count)], mean) for count in (20, 2000))
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)
    assert bootstrap([[1.0], [2.0], [9.0]], median).value == 2
    assert bootstrap([[1, 50], [0, 50]], ratio).percent() == "1.0 % (0.0 – 2.0)"


def tones(steps: list[tuple[float, float]]) -> np.ndarray:
    """(Hz, seconds) one after another, with overtones."""
    phase, parts = 0.0, []
    for hertz, seconds in steps:
        angles = phase + 2 * np.pi * hertz * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
        parts.append(sum(np.sin(n * angles) / n for n in range(1, 8)))
        phase = float(angles[-1])
    return (0.1 * np.concatenate(parts)).astype(np.float32)


def test_distance_is_of_the_sound_and_not_of_its_pace() -> None:
    reading = tones([(120, 0.4), (200, 0.3), (150, 0.5)])
    slower = tones([(120, 0.5), (200, 0.36), (150, 0.45)])
    another = tones([(300, 0.4), (90, 0.3), (400, 0.5)])
    assert distance(reading, reading) == 0
    assert distance(slower, reading) < 0.3 * distance(another, reading)
    assert distance(reading + 0.01 * np.random.default_rng(0).standard_normal(len(reading)), reading) > 0.3


def test_two_readings_are_drawn(tmp_path: Path) -> None:
    draw({"one": tones([(120, 0.4)]), "other": tones([(200, 0.5)])}, "Text, " * 40, tmp_path / "images" / "voice.png")
    picture = (tmp_path / "images" / "voice.png").read_bytes()
    assert picture[:4] == b"\x89PNG"
    assert len(picture) > 10_000


def test_questions_and_words_are_in_no_training_text() -> None:
    questions, words = lines("questions.txt"), lines("unseen_words.txt")
    rows = [json.loads(line) for line in TEXTS.read_text().splitlines()]
    assert len(set(questions)) == 200
    assert not {q.lower() for q in questions} & {row["question"].lower() for row in rows}
    assert unseen_questions([TEXTS], 200) == questions
    assert len(set(words)) == 200
    assert unseen_words([TEXTS], 200) == words
    normalize = EnglishTextNormalizer()
    assert all(normalize(word) in normalize(speakable(CARRIER.format(word))).split() for word in words)


def test_words_that_training_has_seen_meanwhile_are_left_out(tmp_path: Path) -> None:
    first, second, *_ = lines("unseen_words.txt")
    (tmp_path / "new.jsonl").write_text(json.dumps({"question": f"What is {first}?", "answer": f"It is {second}."}))
    words = unseen_words([TEXTS, tmp_path / "new.jsonl"], 200)
    assert len(words) == 198
    (tmp_path / "asked.jsonl").write_text(json.dumps({"question": lines("questions.txt")[3], "answer": "Paris."}))
    assert lines("questions.txt")[3] not in unseen_questions([TEXTS, tmp_path / "asked.jsonl"], 200)
    assert not {first, second} & set(words)
    assert len(unseen_words([TEXTS], 10)) == 10


def test_the_table_goes_between_its_marks(tmp_path: Path) -> None:
    document = tmp_path / "card.md"
    document.write_text("# Card\n<!-- evaluation -->\nold\n<!-- end of evaluation -->\ntail\n")
    put("| new |", document)
    put("| newer |", document)
    assert document.read_text() == "# Card\n<!-- evaluation -->\n| newer |\n<!-- end of evaluation -->\ntail\n"
    document.write_text("# Card\n")
    with pytest.raises(EvaluationError, match="<!-- evaluation -->"):
        put("| new |", document)


def test_a_changed_body_is_found_out() -> None:
    """Equal answers are counted against transformers' own; a body that was touched no longer gives them."""
    omni = exact(find(EMBEDDED))
    body = original_body(omni.config, None)
    questions = lines("questions.txt")[:2]
    assert same_answers(omni, body, questions, steps=8) == [True, True]
    with torch.no_grad():
        omni.network.table.weight.mul_(0.8)
        omni.network.body.layers[0].mlp.down_proj.weight.mul_(0.5)  # type: ignore[union-attr, index]
    assert same_answers(omni, body, questions, steps=8) != [True, True]


def test_a_spoken_question_is_compared_with_the_typed_one() -> None:
    omni, voice = MiniOmni.from_pretrained(), Hibari(threads=1)
    right = Recording("hibari, clean", TEXTS_SPOKEN[0], speak("hibari", TEXTS_SPOKEN[0]))
    wrong = Recording("hibari, clean", "How are you?", right.samples)
    assert heard_as_typed(omni, [right, wrong]) == [True, False]
    ((ours, theirs),) = first_sounds(omni, [right], voice)
    assert min(ours, theirs) > 0


def test_an_evaluation_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    kept = Kept(tmp_path, "one")
    flaws = find_flaws(SAID, SAID.replace("seine", "sane"))
    sound = tones([(120, 0.4)])
    kept.add_answer(Spoken("Where?", SAID, sound, flaws, "heard", sound[:100], find_flaws(SAID, SAID)))
    kept.add_word("zephyr", ours=True, cascade=False)
    with (tmp_path / "words.jsonl").open("a") as file:
        file.write('{"word": "cut o')
    again = Kept(tmp_path, "one")
    (answer,) = again.answers.values()
    assert (answer.text, answer.flaws, len(answer.samples), len(answer.read)) == (SAID, flaws, len(sound), 100)
    again.add_word("quill", ours=False, cascade=False)
    assert Kept(tmp_path, "one").words == {"zephyr": (True, False), "quill": (False, False)}
    with pytest.raises(KeptError, match="another checkpoint"):
        Kept(tmp_path, "two")


def test_the_embedded_model_gets_its_table(tmp_path: Path) -> None:
    told = evaluate(EMBEDDED, answers=2, ears_every=0, images=tmp_path, out=tmp_path)
    table = told.table()
    for measure in ("hears wrong", "break off", "no training text", "log-mel", "original body's", "disk"):
        assert sum(measure in line.measure for line in told.lines) == 1, measure
        assert measure in table
    assert told.figures["word_error"].value < 0.3
    assert told.figures["same_language"].value == 1
    assert 0.5 < told.figures["voice_ratio"].value < 4
    rows = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    sound, rate = soundfile.read(tmp_path / rows[0]["file"])
    assert rate == SAMPLE_RATE
    found = Kept(tmp_path, fingerprint(EMBEDDED))
    assert [one.text for one in found.answers.values()] == [row["text"] for row in rows]
    assert len(found.words) == 2
    assert len(sound) > SAMPLE_RATE / 2
    assert (tmp_path / "voice.png").stat().st_size > 10_000
