"""The table of several models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.report import Report
from benchmarks.talk.measures import Measure


@dataclass(frozen=True)
class TalkReport(Report):
    """A report whose figures are measures of one or more models."""

    figures: Sequence[Measure]

    def table(self) -> str:
        """For people: a row a measure, a column a model."""
        models = list(dict.fromkeys(one.model for one in self.figures))
        rows = list(dict.fromkeys(one.row for one in self.figures))
        cells = {(one.row, one.model): one for one in self.figures}
        lines = [["", "target", *models]]
        for row in rows:
            found = [cells.get((row, model)) for model in models]
            target = next((one.target for one in found if one is not None), "")
            lines.append([row, target, *(_cell(one) if one is not None else "–" for one in found)])
        wide = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        table = [
            "  " + "  ".join(cell.ljust(width) for cell, width in zip(line, wide, strict=True)).rstrip()
            for line in lines
        ]
        notes = [f"  {one.name}: {one.note}" for one in self.figures if ";" in one.note]
        m = self.machine
        about = f"  ({m.processor}, {m.cores} cores, {m.memory_gb:.0f} GB, load {m.load_before:.1f} before; {m.commit})"
        intervals = "  In brackets: 95 % intervals; of the words of an answer: the fewest and the most."
        return "\n".join([f"{self.benchmark}: {self.workload}", *table, intervals, *notes, about])


def _cell(one: Measure) -> str:
    digits = 1 if one.unit == "%" else 0
    count = one.note.split(";")[0]
    met = "" if one.met is None else ", met" if one.met else ", missed"
    value = f"{one.value:.{digits}f}{' ' if one.unit else ''}{one.unit}"
    return f"{value} ({one.low:.{digits}f}–{one.high:.{digits}f}){', ' if count else ''}{count}{met}"
