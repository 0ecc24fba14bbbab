"""Runs the Dockerfile's steps in plain folders, and the image's command in the last of them: a check without Docker.

    debootstrap --include=ca-certificates,python3,python3-venv bookworm BASE
    python deploy/rehearse.py BASE WORK

BASE stands in for python:3.11-slim-bookworm (Debian 12's own Python is 3.11). Every stage is a copy of it under WORK;
RUN happens in a chroot there. The result then starts as its user, on a read-only root, in a network namespace that has
nothing but loopback, and the HEALTHCHECK's command is asked until it succeeds. Linux, root.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

CONTEXT = Path(__file__).resolve().parent.parent
START_LIMIT_S = 180


class RehearsalError(Exception):
    """A step failed, or the Dockerfile uses something that is not rehearsed."""


@dataclass
class Stage:
    """One FROM and what has been said since."""

    root: Path
    name: str
    environment: dict[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    )
    folder: str = "/"
    user: str = "0"
    entrypoint: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)


@dataclass
class Rehearsal:
    """Takes the instructions one by one. `shared` paths of this machine are seen by RUN; `passed` variables too."""

    base: Path
    work: Path
    shared: list[str]
    passed: dict[str, str]
    arguments: dict[str, str]
    stages: list[Stage] = field(default_factory=list)

    @property
    def stage(self) -> Stage:
        return self.stages[-1]

    def take(self, word: str, rest: str) -> None:
        """Carry one instruction out; raises `RehearsalError`."""
        print(f"{word} {rest}"[:110], flush=True)
        match word:
            case "FROM":
                name = rest.split(" AS ")[1] if " AS " in rest else str(len(self.stages))
                root = self.work / f"stage-{name}"
                shutil.rmtree(root, ignore_errors=True)
                subprocess.run(["cp", "-a", "--reflink=auto", str(self.base), str(root)], check=True)
                self.stages.append(Stage(root, name))
            case "ARG":
                name, _, default = rest.partition("=")
                self.stage.environment[name] = self.arguments.get(name, default.strip('"'))
            case "ENV":
                for name, value in re.findall(r'(\w+)=("[^"]*"|\S+)', rest):
                    self.stage.environment[name] = self._expand(value.strip('"'))
            case "WORKDIR":
                self.stage.folder = rest
                (self.stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "COPY":
                self._copy(shlex.split(rest))
            case "RUN":
                self._run(re.sub(r"--mount=\S+\s*", "", rest))
            case "USER":
                self.stage.user = rest
            case "ENTRYPOINT":
                self.stage.entrypoint = json.loads(rest)
            case "HEALTHCHECK":
                self.stage.healthcheck = json.loads(rest[rest.index("[") :])
            case "EXPOSE" | "STOPSIGNAL":
                pass
            case _:
                raise RehearsalError(f"{word} is not rehearsed")

    def _expand(self, value: str) -> str:
        return re.sub(r"\$\{?(\w+)\}?", lambda m: self.stage.environment.get(m[1], ""), value)

    def _copy(self, words: list[str]) -> None:
        source = CONTEXT
        if words[0].startswith("--from="):
            source = next(s.root for s in self.stages if s.name == words[0].removeprefix("--from="))
            words = words[1:]
        *names, target = words
        into = self.stage.root / str(Path(self.stage.folder) / target).lstrip("/")
        sent = {line[1:] for line in (CONTEXT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
        for name in names:
            if source is CONTEXT and not any(name == path or name.startswith(f"{path}/") for path in sent):
                raise RehearsalError(f"COPY {name}: .dockerignore keeps it from the builder")
            path = source / name.lstrip("/")
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc") if source is CONTEXT else None
            if path.is_dir():
                shutil.copytree(path, into, symlinks=True, dirs_exist_ok=True, ignore=ignored)
            else:
                into.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, into)

    def _run(self, command: str) -> None:
        stage = self.stage
        lines = [f"mount -t proc proc {stage.root}/proc", f"mount --bind /dev {stage.root}/dev"]
        for path in self.shared:
            inside = stage.root / path.lstrip("/")
            lines.append(f"mkdir -p {inside}" if Path(path).is_dir() else f"mkdir -p {inside.parent}; touch {inside}")
            lines.append(f"mount --bind {path} {inside}")
        inner = f"cd {stage.folder} && {command}"
        lines.append(f"exec chroot {stage.root} /bin/sh -c {shlex.quote(inner)}")
        done = subprocess.run(
            ["unshare", "-m", "sh", "-ec", "\n".join(lines)], env={**self.passed, **stage.environment}, check=False
        )
        if done.returncode:
            raise RehearsalError(f"RUN ended with status {done.returncode}")

    def start(self) -> float:
        """Start the image's command; → seconds until the health check succeeded."""
        stage, root = self.stage, self.stage.root
        enter = f"chroot --userspec={stage.user}:{stage.user} {root} /bin/sh -c"
        command = shlex.quote(f"cd {stage.folder} && exec {shlex.join(stage.entrypoint)}")
        check = shlex.quote(f"cd {stage.folder} && exec {shlex.join(stage.healthcheck)}")
        script = f"""
            ip link set lo up
            mount --bind {root} {root}; mount -o remount,ro,bind {root}
            mount -t proc proc {root}/proc; mount --bind /dev {root}/dev; mount -t tmpfs tmpfs {root}/tmp
            {enter} {command} & server=$!
            tries=0
            until {enter} {check} 2>/dev/null; do
                kill -0 $server 2>/dev/null || exit 3
                tries=$((tries + 1)); [ $tries -lt {START_LIMIT_S * 2} ] || exit 4
                sleep 0.5
            done
            echo healthy
            kill -TERM $server; wait $server || exit 5
        """
        began = time.monotonic()
        process = subprocess.Popen(
            ["unshare", "-m", "-n", "sh", "-ec", script], env=stage.environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        seconds = 0.0
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.strip() == "healthy":
                seconds = time.monotonic() - began
        if status := process.wait():
            reasons = {3: "the server ended by itself", 4: "it never became healthy", 5: "it did not end cleanly"}
            raise RehearsalError(reasons.get(status, f"status {status}"))
        return seconds


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """(word, rest) of every instruction, continued lines joined, comments left out."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def main() -> int:
    """→ 0 when every step and the start succeeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, help="root folder of a Debian 12 with python3 and python3-venv")
    parser.add_argument("work", type=Path, help="folder for the stages; needs a few GB")
    parser.add_argument("--share", action="append", default=[], metavar="PATH", help="of this machine, seen by RUN")
    parser.add_argument("--pass-env", action="append", default=[], metavar="NAME", help="of this shell, seen by RUN")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    passed = {name: os.environ[name] for name in arguments.pass_env if name in os.environ}
    built = dict(item.split("=", 1) for item in arguments.build_arg)
    rehearsal = Rehearsal(arguments.base.resolve(), arguments.work.resolve(), arguments.share, passed, built)
    rehearsal.work.mkdir(parents=True, exist_ok=True)
    try:
        for word, rest in instructions((CONTEXT / "Dockerfile").read_text()):
            rehearsal.take(word, rest)
        seconds = rehearsal.start()
    except RehearsalError as error:
        print(error, file=sys.stderr)
        return 1
    size = subprocess.run(
        ["du", "-sm", rehearsal.stage.root], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    print(f"healthy after {seconds:.1f} s, without a network; the root folder holds {size} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
