"""Packages that only some benchmarks need."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


class PackageMissing(RuntimeError):
    """A package of `requirements-benchmarks.txt` is not installed; the message says how to install it."""


def package(name: str) -> ModuleType:
    """The imported package. Raises `PackageMissing`."""
    try:
        return import_module(name)
    except ImportError as error:
        raise PackageMissing(f"{error}; run: pip install -r requirements-benchmarks.txt") from error
