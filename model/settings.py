"""What the model takes from the environment where its caller says nothing: the only place that reads it."""

from __future__ import annotations

import os
from pathlib import Path

AUTO = "auto"
"""The name that stands for the best model this machine can run."""


def default_model() -> str:
    """`OMNI_MODEL`, else `auto`."""
    return os.environ.get("OMNI_MODEL", "").strip() or AUTO


def default_cache_dir() -> Path:
    """Where packed weights are kept: `OMNI_CACHE_DIR`, else `mini-omni` in the user's cache folder."""
    if named := os.environ.get("OMNI_CACHE_DIR", "").strip():
        return Path(named).expanduser()
    home = os.environ.get("XDG_CACHE_HOME", "").strip()
    return (Path(home) if home else Path("~/.cache").expanduser()) / "mini-omni"
