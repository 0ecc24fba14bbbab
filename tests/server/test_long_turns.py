"""Turns longer than the ears' window: split at pauses, heard piece by piece, answered whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.request import Done, GenerationFailed, Heard, TextDelta
from model.vocabulary import Task
from server.events import CancelGeneration, Problem, QuestionHeard, StartGeneration
from server.long_turns import EARS_MS, PIECE_MS, Pieces
from server.turns import SpeechBegan, SpeechEnded, SpeechPaused, SpeechResumed, ms_to_samples
from tests.server.test_session import Script, Talk, at, names, position, started


def pause(begin: float, end: float) -> Script:
    return [(begin + 0.2, SpeechPaused(at(begin))), (end, SpeechResumed(at(end)))]


def heard(talk: Talk, generation_id: int, text: str) -> list[object]:
    return list(talk.generator_says(generation_id, Heard(text), TextDelta(text), Done("stop", text, 0.0, 0, 0)))


def pieces_of(outputs: list[object]) -> list[StartGeneration]:
    return [o for o in outputs if isinstance(o, StartGeneration) and o.request.task is Task.A1T1]


LONG: Script = [
    (1.2, SpeechBegan(at(1.0))),
    *pause(15.0, 15.4),
    *pause(20.0, 20.9),
    *pause(24.0, 24.3),
    (40.2, SpeechPaused(at(40.0))),
    (40.5, SpeechEnded(at(40.0), "silence")),
]


def test_a_long_turn_is_heard_in_pieces_and_answered_once() -> None:
    talk = Talk(LONG)
    (piece,) = pieces_of(talk.hear_until(35.0))
    assert piece.request.audio is not None
    assert position(piece.request.audio[0]) == at(1.0) - ms_to_samples(320)
    assert position(piece.request.audio[-1]) == at(20.45) - 1, "the middle of the longest pause"
    assert heard(talk, piece.generation_id, "Once upon a time") == []
    rest = started(talk.hear_until(40.2))
    assert rest.request.before == "Once upon a time"
    assert rest.request.audio is not None
    assert position(rest.request.audio[0]) == at(20.45)
    assert position(rest.request.audio[-1]) == at(40.0) + ms_to_samples(128) - 1
    outputs = talk.hear_until(40.5) + talk.generator_says(
        rest.generation_id, Heard("Once upon a time there was a king.")
    )
    assert outputs[-1] == QuestionHeard(1, "Once upon a time there was a king.")
    assert names(outputs) == ["SpeechStopped", "GenerationAdopted", "QuestionHeard"]


def test_a_turn_that_ends_before_its_pieces_are_heard_is_answered_after_them() -> None:
    talk = Talk(LONG)
    outputs = talk.hear_until(40.5)
    (piece,) = pieces_of(outputs)
    assert names(outputs)[-1] == "SpeechStopped", "no guess and no answer: part of the question is not known"
    answer = started(heard(talk, piece.generation_id, "Once"))  # type: ignore[arg-type]
    assert not answer.speculative
    assert answer.request.before == "Once"


def test_pieces_that_are_heard_during_a_pause_begin_the_guess() -> None:
    talk = Talk(LONG)
    (piece,) = pieces_of(talk.hear_until(40.3))
    guess = started(heard(talk, piece.generation_id, "Once"))  # type: ignore[arg-type]
    assert guess.speculative
    assert names(talk.hear_until(40.5)) == ["SpeechStopped", "GenerationAdopted"]


def test_a_piece_that_is_not_heard_is_told_and_the_rest_is_answered() -> None:
    talk = Talk(LONG)
    (piece,) = pieces_of(talk.hear_until(40.5))
    problem, answer = talk.session.generation_failed(piece.generation_id, GenerationFailed("broken"))
    assert isinstance(problem, Problem)
    assert problem.turn_id == 1
    assert isinstance(answer, StartGeneration)


def test_whoever_types_meanwhile_drops_the_pieces() -> None:
    talk = Talk(LONG[:-2])
    (piece,) = pieces_of(talk.hear_until(35.0))
    outputs = talk.session.receive_text("stop")
    assert CancelGeneration(piece.generation_id, speculative=False) in outputs
    assert heard(talk, piece.generation_id, "Once") == []


def test_two_minutes_without_a_pause_are_heard_whole_in_bounded_memory() -> None:
    talk = Talk([(1.2, SpeechBegan(at(1.0))), (120.0, SpeechEnded(at(119.9), "max_turn"))])
    most, ends, begins = 0, [], []
    for second in range(2, 121):
        for piece in pieces_of(talk.hear_until(float(second))):
            assert piece.request.audio is not None
            assert len(piece.request.audio) <= ms_to_samples(EARS_MS)
            begins.append(position(piece.request.audio[0]))
            ends.append(position(piece.request.audio[-1]) + 1)
            answers = heard(talk, piece.generation_id, "and so on")
        most = max(most, talk.session.held_samples)
    assert begins[0] == at(1.0) - ms_to_samples(320)
    assert begins[1:] == ends[:-1], "nothing is lost and nothing is heard twice"
    assert most <= ms_to_samples(EARS_MS)
    assert len(ends) >= 4
    assert answers == []


def test_a_turn_of_a_window_is_one_piece() -> None:
    talk = Talk([(1.2, SpeechBegan(at(1.0))), (28.4, SpeechPaused(at(28.2))), (28.7, SpeechEnded(at(28.2), "silence"))])
    assert pieces_of(talk.hear_until(28.7)) == []


@given(st.lists(st.tuples(st.integers(0, 25_000), st.integers(130, 2000)), max_size=6), st.integers(0, 1000))
def test_a_piece_fits_the_ears_and_is_not_short(pauses: list[tuple[int, int]], seed: int) -> None:
    pieces = Pieces(16_000)
    for begin_ms, length_ms in sorted(pauses):
        begin = 16_000 + ms_to_samples(begin_ms)
        pieces.pauses.append((begin, begin + ms_to_samples(length_ms)))
    unheard = np.random.default_rng(seed).standard_normal(ms_to_samples(PIECE_MS)).astype(np.float32)
    split = pieces.split(unheard) - 16_000
    assert ms_to_samples(8000) <= split <= len(unheard)


@pytest.mark.parametrize("quiet_at", [22_500, 25_000, 27_900])
def test_without_a_pause_the_quietest_place_is_taken(quiet_at: int) -> None:
    pieces = Pieces(0)
    unheard = np.random.default_rng(0).standard_normal(ms_to_samples(PIECE_MS)).astype(np.float32)
    middle = ms_to_samples(quiet_at)
    unheard[middle - 300 : middle + 300] *= 0.1
    assert abs(pieces.split(unheard) - middle) <= 100
