"""What benchmarks compute from what they saw."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from benchmarks.conversation import Turn
from benchmarks.engine import weight_bytes
from benchmarks.report import Figure, Report, percentile
from model.packed import pack_linears


def test_percentile_is_a_value_that_was_measured() -> None:
    values = [float(v) for v in range(20, 0, -1)]
    assert percentile(values, 0.95) == 19
    assert percentile(values, 1.0) == 20
    assert percentile([7.0], 0.95) == 7


def test_first_audio_counts_from_the_confirmed_end_of_the_turn() -> None:
    turn = Turn(speech_ended=9.5, turn_confirmed=10.0, sound=[(10.25, 2400), (10.5, 24000)])
    assert turn.first_audio_ms == pytest.approx(250)
    assert turn.silence_ms == pytest.approx(750)
    assert turn.seconds == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("sound", "lead_ms", "late_ms"),
    [
        ([(0.0, 24000), (0.4, 24000), (1.9, 24000)], 0.0, -100.0),  # the third was due at 2.0 s
        ([(0.0, 2400), (0.3, 24000)], 0.0, 200.0),  # due at 0.1 s: the player ran dry
        (
            [(0.0, 2400), (0.3, 24000), (1.5, 24000)],
            200.0,
            100.0,
        ),  # starts at 0.3 s with 1.1 s: the third is due at 1.4
        ([(0.0, 2400), (0.3, 24000), (1.3, 24000)], 200.0, -100.0),
        ([(0.0, 24000)], 0.0, -1000.0),
    ],
)
def test_late_is_the_latest_piece_against_when_a_player_with_that_lead_needs_it(
    sound: list[tuple[float, int]], lead_ms: float, late_ms: float
) -> None:
    assert Turn(sound=sound).late_ms(lead_ms) == pytest.approx(late_ms)


def test_weights_are_counted_once_and_tables_of_angles_are_not() -> None:
    linear = nn.Linear(4, 3)
    tied = nn.Linear(4, 3)
    tied.weight = linear.weight
    assert weight_bytes(nn.ModuleList([linear, tied])) == 12 * 4
    packed = nn.ModuleList([nn.Sequential(linear)])
    pack_linears(packed, "float16")
    assert weight_bytes(packed) == 12 * 2


def test_a_report_is_a_table_for_people_and_one_line_for_programs() -> None:
    report = Report("load", "two people", [Figure("late", 0, "of 8"), Figure("wait", 312.4, "ms", "median")])
    line = report.json_line()
    assert "\n" not in line
    read = json.loads(line)
    assert [(f["name"], f["value"], f["unit"]) for f in read["figures"]] == [("late", 0, "of 8"), ("wait", 312.4, "ms")]
    assert read["machine"]["packages"]["torch"] == torch.__version__
    assert read["machine"]["cores"] >= 1
    table = report.table().splitlines()
    assert table[0] == "load: two people"
    assert "312 ms" in table[2]
