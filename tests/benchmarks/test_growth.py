"""What is said and drawn of a growing crowd."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.conversation import Turn, _frame
from benchmarks.growth import _figures, draw
from benchmarks.load import Crowd
from benchmarks.sessions import Opened


def turn(first_ms: float, second_s: float) -> Turn:
    """Two seconds of sound in two halves; the second half is there so long after the first."""
    first = 10.0 + first_ms / 1000
    return Turn(speech_ended=9.5, turn_confirmed=10.0, sound=[(first, 24_000), (first + second_s, 24_000)])


CROWDS = [
    Crowd(1, 0, [turn(20, 0.5)], [], 900.0, 0.1, 0.01, 0.02),
    Crowd(2, 0, [turn(30, 0.5), turn(90, 1.4)], [], 950.0, 0.4, 0.01, 0.04),
]
OPENED = [Opened(1, 880.0, 880.5, 880.0, 0.003), Opened(100, 880.0, 910.0, 890.0, 0.25)]


def test_costs_are_those_of_one() -> None:
    found = [(figure.name, round(figure.value, 3)) for figure in _figures(CROWDS, OPENED)]
    assert found == [
        ("1 answers at once: late", 0),
        ("… a core's time for a second of answer", 50),
        ("… first audio byte after the turn's end, 95th percentile", 20),
        ("… memory of the server", 900),
        ("2 answers at once: late", 1),
        ("… a core's time for a second of answer", 100),
        ("… first audio byte after the turn's end, 95th percentile", 90),
        ("… memory of the server", 950),
        ("1 open microphones: a core's share of each", 0.3),
        ("… memory of each", 500),
        ("100 open microphones: a core's share of each", 0.25),
        ("… memory of each", 300),
    ]


@pytest.mark.parametrize("name", ["growth.svg", "growth.png"])
def test_curves_are_drawn(tmp_path: Path, name: str) -> None:
    draw(CROWDS, OPENED, tmp_path / name)
    assert (tmp_path / name).stat().st_size > 5000
    if name.endswith("svg"):
        again = tmp_path / "again.svg"
        draw(CROWDS, OPENED, again)
        assert again.read_bytes() == (tmp_path / name).read_bytes()


def test_a_frame_is_a_clients_masked_binary_message() -> None:
    frame = _frame(b"ab" * 640)
    assert frame[:4] == bytes([0x82, 0xFE, 0x05, 0x00])
    assert frame[4:8] == bytes(4)
    assert frame[8:] == b"ab" * 640
