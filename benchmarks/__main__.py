"""`python -m benchmarks NAME [--json]`: measure one thing, or `all`, on this machine; `compare A.json B.json`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    agreement,
    cascade,
    compare,
    decoder,
    engine,
    growth,
    interruptions,
    latency,
    load,
    numbers,
    page,
    published,
    sessions,
    startup,
    talk,
    turns,
)
from benchmarks.packages import PackageMissing
from benchmarks.report import Report
from benchmarks.talk.scenarios import CATEGORIES, HALVES, ScenarioError
from benchmarks.talk.talker import WAYS
from model.request import OmniError


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Prints a table; with --json one JSON line on stdout, and the table on stderr.",
        epilog="Flags after -- go to the server, such as: python -m benchmarks load -- --queue 16. "
        "To compare two versions, let each write some runs: python -m benchmarks latency --repeat 5 --json > A.json, "
        "then: python -m benchmarks compare A.json B.json",
    )
    parser.add_argument("name", choices=["all", "compare", *_BENCHMARKS], help="what to measure")
    parser.add_argument(
        "--model", help="omni-1.5b, smol-omni, a folder or a GGUF file (default: $OMNI_MODEL, else auto)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON line a benchmark on stdout")
    parser.add_argument("--repeat", type=_positive, default=1, help="runs of each, one after the other (1)")
    parser.add_argument("--turns", type=_positive, default=20, help="latency and cascade: spoken questions (20)")
    parser.add_argument("--talkers", type=_positive, help="load: people who speak at once (finds how many are in time)")
    parser.add_argument("--listeners", type=int, default=0, help="load: open microphones beside them (0)")
    parser.add_argument("--rounds", type=_positive, help="load: questions of each (2); decoder: rounds of timing (5)")
    parser.add_argument("--count", type=_positive, default=50, help="sessions: open conversations (50)")
    parser.add_argument("--starts", type=_positive, default=3, help="startup: how often to start (3)")
    parser.add_argument(
        "--steps", type=_positive, help="engine: steps to time of each kind (100); decoder: in a round (24)"
    )
    parser.add_argument("--gguf", type=Path, help="decoder and cascade: the model's GGUF file, for llama.cpp (found)")
    parser.add_argument("--questions", type=_positive, default=50, help="agreement: typed questions (50)")
    parser.add_argument(
        "--minutes", type=float, default=10, help="interruptions: of speaking at each level of echo (10)"
    )
    parser.add_argument("--at-once", type=_positive, default=4, help="interruptions: conversations at a time (4)")
    parser.add_argument("--sentences", type=_positive, default=200, help="turns: whole and as beginnings (200)")
    parser.add_argument("--utterances", type=_positive, default=600, help="numbers: about so many (600)")
    _add_talk(parser)
    parser.add_argument("--visits", type=_positive, default=10, help="page: how often to open it anew (10)")
    parser.add_argument("--picture", type=Path, help="growth: file for its curves, SVG or PNG")
    parser.add_argument("flags", nargs="*", help="for the server, after --; compare: the two files")
    given = sys.argv[1:] if argv is None else argv
    at = given.index("--") if "--" in given else len(given)  # argparse takes them only right after the name
    arguments = parser.parse_args(given[:at])
    arguments.flags += given[at + 1 :]
    return arguments


def _add_talk(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("talk")
    group.add_argument("--models", nargs="+", default=talk.MODELS, metavar="MODEL", help="names or folders (both)")
    group.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS, help="how to ask (both)")
    group.add_argument("--half", default="all", choices=("all", *HALVES), help="of the conversations (all)")
    group.add_argument("--conversations", type=_positive, help="a fixed spread of so many (all)")
    group.add_argument("--category", nargs="+", default=(), choices=CATEGORIES, metavar="NAME", help="only these (all)")
    group.add_argument("--listened", type=int, default=200, help="answers that Whisper base listens to (200); 0: none")
    group.add_argument("--transcript", type=Path, help="file for a JSON line of each turn")
    group.add_argument("--wrong", action="store_true", help="print the turns with a fault, on stderr")


def _talk_plan(a: argparse.Namespace) -> talk.Plan:
    return talk.Plan(
        a.models, a.ways, a.half, a.conversations, a.category, max(0, a.listened), a.transcript, a.wrong
    )  # fmt: skip


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not above 0")
    return value


_BENCHMARKS: dict[str, Callable[[argparse.Namespace], Report]] = {
    "startup": lambda a: startup.run(a.starts, _server_flags(a)),
    "engine": lambda a: engine.run(a.model, a.steps or 100),
    "decoder": lambda a: decoder.run(a.model, a.gguf, a.rounds or 5, a.steps or 24),
    "agreement": lambda a: agreement.run(a.model, a.questions),
    "latency": lambda a: latency.run(a.turns, _server_flags(a)),
    "load": lambda a: load.run(a.talkers, a.listeners, a.rounds or 2, _server_flags(a)),
    "page": lambda a: page.run(a.visits, _server_flags(a)),
    "published": lambda a: published.run(a.steps or 100),
    "sessions": lambda a: sessions.run(a.count, _server_flags(a)),
    "growth": lambda a: growth.run(a.picture, _server_flags(a)),
    "interruptions": lambda a: interruptions.run(a.minutes, a.at_once, _server_flags(a)),
    "numbers": lambda a: numbers.run(a.utterances),
    "talk": lambda a: talk.run(_talk_plan(a), tuple(a.flags)),
    "turns": lambda a: turns.run(a.sentences, _server_flags(a)),
    "cascade": lambda a: cascade.run(a.model, a.gguf, a.turns, tuple(a.flags)),
}
_APART = ("cascade", "decoder", "growth", "interruptions", "numbers", "page", "talk", "turns")
"""Not among `all`: `cascade` and `decoder` need more than `make bench` installs, `page` a browser; others take long."""


def _server_flags(arguments: argparse.Namespace) -> tuple[str, ...]:
    """For the server, the model among them."""
    return (*(("--model", arguments.model) if arguments.model else ()), *arguments.flags)


def main(argv: list[str] | None = None) -> int:
    """Run what is asked for. → 0, or 2 when something is missing for it."""
    arguments = _arguments(argv)
    try:
        if arguments.name == "compare":
            print(compare.run(arguments.flags))
            return 0
        every = [name for name in _BENCHMARKS if name not in _APART]
        for name in (every if arguments.name == "all" else [arguments.name]) * arguments.repeat:
            report = _BENCHMARKS[name](arguments)
            print(report.table(), file=sys.stderr if arguments.json else sys.stdout, flush=True)
            if arguments.json:
                print(report.json_line(), flush=True)
    except (compare.NotRuns, PackageMissing, ScenarioError, OmniError, OSError) as error:
        print(f"python -m benchmarks {arguments.name}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
