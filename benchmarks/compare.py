"""Two files of benchmark runs side by side: `python -m benchmarks NAME --json >> A.json` writes them, a line a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import median

_SAME = ("processor", "cores", "memory_gb", "python", "packages")


class NotRuns(ValueError):
    """A file that holds no benchmark runs."""


@dataclass(frozen=True)
class Runs:
    """What a file holds: for each figure of each benchmark, its value in every run."""

    name: str
    values: dict[tuple[str, str], list[float]]
    units: dict[tuple[str, str], str]
    machines: list[dict[str, Any]]


def read(path: Path) -> Runs:
    """Raises `NotRuns` with the line that is none."""
    values: dict[tuple[str, str], list[float]] = {}
    units: dict[tuple[str, str], str] = {}
    machines = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            report = json.loads(line)
            names = _in_full([figure["name"] for figure in report["figures"]])
            for name, figure in zip(names, report["figures"], strict=True):
                key = (report["benchmark"], name)
                values.setdefault(key, []).append(float(figure["value"]))
                units[key] = figure["unit"]
            machines.append(report["machine"])
        except (ValueError, KeyError, TypeError) as error:
            raise NotRuns(
                f"{path}, line {number} is no benchmark run ({error!r}); python -m benchmarks NAME --json writes them"
            ) from None
    if not machines:
        raise NotRuns(f"{path} is empty; write runs with: python -m benchmarks NAME --json >> {path}")
    return Runs(path.name, values, units, machines)


def _in_full(names: Iterable[str]) -> Iterator[str]:
    """Names that go on from the one above ("… 95th percentile") with what they go on from."""
    above: list[str] = []
    for name in names:
        depth = len(name) - len(name.lstrip("… "))
        level = name[:depth].count("…")
        above = [*above[:level], name[depth:]]
        yield ", ".join(above)


def compare(a: Runs, b: Runs) -> str:
    """A table: medians and their spread, and b ÷ a with the farthest ratios that any two runs have."""
    rows = [("", a.name, b.name, "ratio", "")]
    for key, of_a in a.values.items():
        of_b = b.values.get(key)
        if of_b is None:
            continue
        rows.append((f"{key[0]}: {key[1]}", _spread(of_a), _spread(of_b), _ratio(of_a, of_b), a.units[key]))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        f"{name:<{widths[0]}}  {of_a:>{widths[1]}}  {of_b:>{widths[2]}}  {ratio:>{widths[3]}}  {unit}".rstrip()
        for name, of_a, of_b, ratio, unit in rows
    ]
    only = [f"only in {x.name}: {', '.join(': '.join(k) for k in x.values if k not in y.values)}"
            for x, y in ((a, b), (b, a)) if x.values.keys() - y.values.keys()]  # fmt: skip
    return "\n".join([*lines, *only, *_circumstances(a, b)])


def _spread(values: list[float]) -> str:
    middle = _short(median(values))
    return middle if len(values) == 1 else f"{middle} ({_short(min(values))}–{_short(max(values))})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _ratio(a: list[float], b: list[float]) -> str:
    if min(a) <= 0 or min(b) < 0:
        return "–"
    middle = f"{median(b) / median(a):.2f}"
    return middle if len(a) == len(b) == 1 else f"{middle} ({min(b) / max(a):.2f}–{max(b) / min(a):.2f})"


def _circumstances(a: Runs, b: Runs) -> list[str]:
    lines = []
    for runs in (a, b):
        commits = ", ".join(dict.fromkeys(machine["commit"] for machine in runs.machines))
        busiest = max(machine["load_before"] for machine in runs.machines)
        lines.append(f"{runs.name}: {len(runs.machines)} runs, commit {commits}, load before at most {busiest:.1f}")
    for field in _SAME:
        found = [sorted({json.dumps(machine[field]) for machine in runs.machines}) for runs in (a, b)]
        if found[0] != found[1]:
            lines.append(f"NOT THE SAME {field}: {' / '.join(found[0])} against {' / '.join(found[1])}")
    return lines


def run(files: list[str]) -> str:
    """Compare the two files. Raises `NotRuns`, and `OSError` where one cannot be read."""
    if len(files) != 2:
        raise NotRuns("name two files: python -m benchmarks compare A.json B.json")
    return compare(*(read(Path(name)) for name in files))
