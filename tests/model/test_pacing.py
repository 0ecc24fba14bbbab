"""Who works in a step."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from model import pacing
from model.engine import Engine
from model.omni import MiniOmni
from model.request import AudioChunk, Done, Event, Request


@dataclass(frozen=True)
class Listened:
    """An answer as pacing sees it: the seconds of sound that its listener has; None: silent still."""

    lead: float | None

    @property
    def silent(self) -> bool:
        return self.lead is None

    @property
    def speaking(self) -> bool:
        return self.lead is not None

    @property
    def lead_seconds(self) -> float:
        return self.lead or 0.0


SILENT, SHORT, LONG = Listened(None), Listened(0.1), Listened(9.0)


ENOUGH = Listened(1.0)


def test_who_has_enough_rests_only_while_somebody_waits_for_a_first_sound() -> None:
    assert pacing.working([LONG, ENOUGH, SHORT]) == [LONG, ENOUGH, SHORT]
    assert pacing.working([LONG, ENOUGH, SHORT, SILENT]) == [SHORT, SILENT]


def test_a_few_come_to_their_first_sound_at_a_time_in_the_order_in_which_they_asked() -> None:
    crowd = [Listened(None) for _ in range(pacing.MOST_SILENT + 2)]
    chosen = pacing.working(crowd)
    assert [id(answer) for answer in chosen] == [id(answer) for answer in crowd[: pacing.MOST_SILENT]]


def test_newcomers_wait_for_those_who_run_short_but_not_for_nobody() -> None:
    assert pacing.working([LONG, SHORT, SILENT], newcomers=False) == [SHORT]
    assert pacing.working([LONG, SILENT], newcomers=False) == [SILENT]


def test_short_leads_speak_a_few_frames_more_and_the_silent_a_whole_chunk() -> None:
    assert pacing.hurried([LONG, SHORT, SILENT], 0) == [SHORT, SILENT]
    assert pacing.hurried([LONG, SHORT, SILENT], pacing.HURRIED_FRAMES - 1) == [SILENT]


@pytest.mark.parametrize(
    ("answer", "backlog", "speaks_first"),
    [(SILENT, 1000, False), (SHORT, 6, False), (SHORT, 7, True), (LONG, 60, False), (LONG, 61, True)],
)
def test_what_is_written_is_spoken_first_when_the_lead_is_short(
    answer: Listened, backlog: int, speaks_first: bool
) -> None:
    assert pacing.speaks_before_writing(answer, backlog) is speaks_first


def test_newcomers_make_way_but_not_for_ever() -> None:
    newcomers = pacing.Newcomers()
    assert newcomers.may_work([LONG, SILENT])
    turns = [newcomers.may_work([SHORT, SILENT]) for _ in range(2 * (pacing.PATIENCE + 1))]
    assert turns == 2 * [*pacing.PATIENCE * [False], True]


def test_pace_changes_no_answer(embedded: MiniOmni, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same tokens and frames whether everybody is in a hurry, or nobody, or whoever speaks rests for the new."""
    requests = [Request(text=text, max_tokens=14) for text in ("Good morning!", "Why is the sky blue?")]

    def answers() -> list[tuple[list[int], Done]]:
        engine = Engine(embedded, max_slots=2)
        told: dict[int, list[Event]] = {}
        first = engine.submit(engine.prepare(requests[0]))
        second = None
        while engine.busy:
            for number, event in engine.step():
                assert not isinstance(event, Exception)
                told.setdefault(number, []).append(event)
            if second is None and any(isinstance(event, AudioChunk) for event in told.get(first, [])):
                second = engine.submit(engine.prepare(requests[1]))
        return [
            ([len(e.samples) for e in events if isinstance(e, AudioChunk)], events[-1])  # type: ignore[misc]
            for events in told.values()
        ]

    wanted = answers()
    for lead in (-1e9, 1e9):
        for name in ("SHORT_LEAD_SECONDS", "LONG_LEAD_SECONDS", "NEWCOMER_LEAD_SECONDS"):
            monkeypatch.setattr(pacing, name, lead)
        assert answers() == wanted
