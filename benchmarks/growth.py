"""What an answer and an open microphone cost as their number grows, as a table and, with `--picture`, as curves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from benchmarks.load import Crowd, gather
from benchmarks.report import Figure, Report, median, percentile
from benchmarks.server_process import server
from benchmarks.sessions import Opened, open_many

TALKERS = (1, 2, 4, 8, 12, 16, 24)
MICROPHONES = (1, 50, 100, 200, 400)


def run(picture: Path | None, flags: tuple[str, ...]) -> Report:
    """Both, on one server each; `picture` is an SVG or PNG file to write (needs matplotlib)."""
    if picture is not None:
        import matplotlib.pyplot as _  # noqa: F401 (missing is told before minutes are spent)
    slots = max(TALKERS)
    with server("--slots", str(slots), "--max-sessions", str(slots + 1), *flags) as running:
        asyncio.run(gather(running, 1, 0, 1))  # nobody's first question warms the others
        crowds = [asyncio.run(gather(running, talkers, 0, 1)) for talkers in TALKERS]
    opened = []
    for count in MICROPHONES:
        with server("--max-sessions", str(count + 1), *flags) as running:
            opened.append(asyncio.run(open_many(running, count)))
    if picture is not None:
        draw(crowds, opened, picture)
    return Report("growth", "everybody asks at once; open microphones in a quiet room", list(_figures(crowds, opened)))


def _figures(crowds: Sequence[Crowd], opened: Sequence[Opened]) -> list[Figure]:
    figures = []
    for crowd in crowds:
        figures += [
            Figure(f"{crowd.talkers} answers at once: late", crowd.late, ""),
            Figure("… a core's time for a second of answer", 1000 * crowd.core_s / _spoken(crowd), "ms"),
            Figure("… first audio byte after the turn's end, 95th percentile", _waits(crowd, 0.95), "ms"),
            Figure("… memory of the server", crowd.memory_mb, "MB"),
        ]
    for one in opened:
        figures += [
            Figure(f"{one.count} open microphones: a core's share of each", 100 * one.share / one.count, "%"),
            Figure("… memory of each", 1000 * one.memory_mb, "KB"),
        ]
    return figures


def _spoken(crowd: Crowd) -> float:
    return sum(turn.seconds for turn in crowd.turns)


def _waits(crowd: Crowd, share: float) -> float:
    return percentile([turn.first_audio_ms for turn in crowd.turns], share)


def draw(crowds: Sequence[Crowd], opened: Sequence[Opened], path: Path) -> None:
    """Three panels: cost of an answer, wait for it, cost of an open microphone."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "growth"
    from matplotlib import pyplot

    figure, (cost, wait, idle) = pyplot.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    people = [crowd.talkers for crowd in crowds]
    cost.plot(people, [1000 * crowd.core_s / _spoken(crowd) for crowd in crowds], "o-")
    late = [crowd for crowd in crowds if crowd.late]
    cost.plot(
        [c.talkers for c in late], [1000 * c.core_s / _spoken(c) for c in late], "o", color="tab:red", label="some late"
    )
    cost.set(title="An answer", xlabel="answers at once", ylabel="ms of a core for a second of sound")
    wait.plot(people, [median([t.first_audio_ms for t in crowd.turns]) for crowd in crowds], "o-", label="median")
    wait.plot(people, [_waits(crowd, 0.95) for crowd in crowds], "o--", label="95th percentile")
    wait.set(title="Its first sound", xlabel="answers at once", ylabel="ms after the turn's end")
    idle.plot([one.count for one in opened], [1000 * one.share for one in opened], "o-")
    idle.set(title="Open microphones", xlabel="microphones", ylabel="ms of a core in a second, all together")
    for axes in (cost, wait, idle):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    wait.legend()
    if late:
        cost.legend()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
