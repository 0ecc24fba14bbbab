"""Two versions side by side: what is printed of their runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.report import Figure, Report, this_machine


def write(path: Path, waits: Sequence[float], commit: str, **machine: object) -> str:
    here = replace(this_machine(), commit=commit, **machine)  # type: ignore[arg-type]
    runs = [Report("latency", "x", [Figure("wait", w, "ms"), Figure("… longest", 2 * w, "ms")], here) for w in waits]
    path.write_text("\n".join(run.json_line() for run in runs) + "\n", encoding="utf-8")
    return str(path)


def test_runs_are_compared_by_their_medians_and_farthest_ratios(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write(tmp_path / "a.json", [100, 120, 110], "aaa")
    b = write(tmp_path / "b.json", [50, 60], "bbb")
    assert main(["compare", a, b]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["latency:", "wait", "110", "(100–120)", "55", "(50–60)", "0.50", "(0.42–0.60)", "ms"]
    assert lines[2].startswith("latency: wait, longest ")
    assert "a.json: 3 runs, commit aaa" in lines[3]
    assert "b.json: 2 runs, commit bbb" in lines[4]
    assert len(lines) == 5


def test_other_circumstances_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write(tmp_path / "a.json", [100], "aaa"), write(tmp_path / "b.json", [50], "aaa", cores=64)
    assert main(["compare", a, b]) == 0
    out = capsys.readouterr().out
    assert "0.50" in out
    assert "(" not in out.splitlines()[1]
    assert "NOT THE SAME cores" in out
    assert "NOT THE SAME python" not in out


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "is empty"), ("[1]\n", "line 1 is no benchmark run"), ('{"figures": []}\n{"a"', "line 2")],
)
def test_what_is_no_run_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    good, bad = write(tmp_path / "a.json", [100], "aaa"), tmp_path / "b.json"
    bad.write_text(text if not text.startswith("{") else Path(good).read_text() + text.split("\n")[1], encoding="utf-8")
    assert main(["compare", good, str(bad)]) == 2
    assert said in capsys.readouterr().err
    assert main(["compare", good]) == 2
    assert main(["compare", good, str(tmp_path / "none.json")]) == 2
