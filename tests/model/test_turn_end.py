"""Is the question over? The embedded model's judgement of real speech, and what it is made of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soxr
import torch
from hibari import Hibari
from safetensors.torch import save_file

from model.checkpoint import OWN_TURN_END, CheckpointError, open_turn_end
from model.eagerness import WAITS
from model.engine import Engine
from model.omni import MiniOmni
from model.request import Done, EndOfTurn, Event, Heard, OmniError, Request, TextDelta
from model.turn_end import Ending, TurnEnd
from model.vocabulary import Task


@pytest.fixture(scope="module")
def voice() -> Hibari:
    return Hibari(threads=1)


@pytest.fixture(scope="module")
def judge(embedded: MiniOmni) -> TurnEnd:
    assert embedded.turn_end is not None
    return embedded.turn_end


def say(voice: Hibari, text: str) -> np.ndarray:
    """(n,) float32, 16 kHz, with the short silence after it that a server hears."""
    spoken = soxr.resample(np.asarray(voice(text, seed=1), np.float32), 24_000, 16_000)
    loud = np.flatnonzero(np.abs(spoken) > 0.01)
    return np.pad(spoken[loud[0] : loud[-1] + 1], (4000, 2048)).astype(np.float32)


def events(omni: MiniOmni, request: Request) -> Iterator[Event]:
    for event in omni.generate(request):
        yield event
        if isinstance(event, TextDelta):
            return


def probability(omni: MiniOmni, audio: np.ndarray) -> float:
    (judged,) = [event for event in events(omni, Request(audio=audio)) if isinstance(event, EndOfTurn)]
    return judged.probability


WHOLE = ("What is the capital of France?", "Could you tell me how far away the moon is?", "Please call my mother.")
CUT = ("I want to book a, um", "What is the best way to", "Could you tell me how far away the,")


@pytest.mark.parametrize("text", WHOLE)
def test_a_whole_question_ends_soon(embedded: MiniOmni, voice: Hibari, text: str) -> None:
    assert WAITS["auto"].silence_ms(probability(embedded, say(voice, text))) <= 300


@pytest.mark.parametrize("text", CUT)
def test_a_beginning_waits(embedded: MiniOmni, voice: Hibari, text: str) -> None:
    assert WAITS["auto"].silence_ms(probability(embedded, say(voice, text))) >= 1200


def test_it_is_told_after_what_was_heard_and_before_the_answer(embedded: MiniOmni, voice: Hibari) -> None:
    told = [type(event) for event in events(embedded, Request(audio=say(voice, WHOLE[0])))]
    assert told == [Heard, EndOfTurn, TextDelta]


def test_what_is_typed_or_only_heard_is_not_judged(embedded: MiniOmni, voice: Hibari) -> None:
    for request in (Request(text="Hello."), Request(audio=say(voice, WHOLE[0]), task=Task.A1T1)):
        assert not any(isinstance(event, EndOfTurn) for event in events(embedded, request))


def test_what_was_heard_before_is_part_of_the_question(embedded: MiniOmni, voice: Hibari) -> None:
    request = Request(audio=say(voice, "What is its capital?"), before="I live in France.", task=Task.A1T1)
    told = list(embedded.generate(request))
    assert isinstance(told[0], Heard)
    assert told[0].text.startswith("I live in France. What is its capital")
    assert isinstance(told[-1], Done)


def test_silence_after_earlier_words_still_asks_them(embedded: MiniOmni) -> None:
    told = list(
        embedded.generate(Request(audio=np.zeros(8000, np.float32), before="I live in France.", task=Task.A1T1))
    )
    assert told[0] == Heard("I live in France.")


@pytest.mark.parametrize(("over", "open_"), [("I live in France", "I live in the"), ("Who are you?", "Who are the?")])
def test_the_words_tell(judge: TurnEnd, over: str, open_: str) -> None:
    for odds in (judge.log_odds(over, over) - judge.log_odds(open_, open_)).tolist():
        assert odds > 2


def test_marks_after_the_last_word_tell_nothing(judge: TurnEnd) -> None:
    assert torch.equal(
        judge.log_odds("I want to book a", "I want to"), judge.log_odds("I want to book a...", "I want to?")
    )


def test_a_long_question_is_read_from_its_end(judge: TurnEnd) -> None:
    end = "and then, after all of that, I would like to know what the capital of the largest country in Europe is"
    long = f"{'I have been thinking about this for a very long time. ' * 30}{end}"
    assert torch.isfinite(judge.log_odds(long, long)).all()
    assert torch.allclose(judge.log_odds(long, long), judge.log_odds(f"Well, {end}", f"Well, {end}"), atol=1e-3)


def test_a_draft_without_words_counts_as_the_text(judge: TurnEnd) -> None:
    both = judge.log_odds("I live in France.", "...")
    assert both[0] == pytest.approx(float(both[1]), abs=1e-4)


def test_nothing_said_is_no_end(judge: TurnEnd) -> None:
    assert judge("...", Ending("", np.zeros(3 * 512, np.float32))) == 0.0


def test_the_tail_is_where_the_sound_ends() -> None:
    samples = np.concatenate([np.full(3200, 0.5), np.zeros(3200)]).astype(np.float32)
    states = torch.arange(70).float()[:, None].expand(-1, 4)
    last, final, after = Ending.of("", states, samples).tail.reshape(3, 4)[:, 0].tolist()
    assert (last, final, after) == (4.5, 8.5, 14.5), "0 … 9, 5 … 12 and 12 … 17: sound ends with state 9"


def test_weights_of_another_shape_are_refused(embedded: MiniOmni, tmp_path: Path) -> None:
    save_file({"words": torch.zeros(2), "tail": torch.zeros(3), "bias": torch.zeros(1)}, tmp_path / OWN_TURN_END)
    with pytest.raises(CheckpointError, match="'tail' has shape"):
        open_turn_end(tmp_path, embedded, tmp_path)


def test_a_judgement_that_breaks_fails_one_answer(
    embedded: MiniOmni, voice: Hibari, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(embedded, max_slots=2)
    typed = engine.submit(engine.prepare(Request(text="Say yes.", task=Task.T1T2, max_tokens=2)))
    monkeypatch.setattr(TurnEnd, "log_odds", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # `AsyncEngine` reports it as `GenerationFailed`
        engine.prepare(Request(audio=say(voice, WHOLE[0]), task=Task.A1T2))
    last: dict[int, Event | OmniError] = {}
    while engine.busy:
        last |= dict(engine.step())
    assert isinstance(last[typed], Done)
