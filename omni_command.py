"""What the commands share: their version, the name that they were called by, and time zones by their name.

A module of its own at the top, since `client` imports neither `server` nor `model`.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import tomllib
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DISTRIBUTION = "mini-omni-voice"
_PYPROJECT = Path(__file__).resolve().parent / "pyproject.toml"


def version() -> str:
    """Such as "0.1.0", which pyproject.toml says. A checkout's own file goes before what else may be installed."""
    try:
        return str(tomllib.loads(_PYPROJECT.read_text(encoding="utf-8"))["project"]["version"])
    except FileNotFoundError:  # installed: the file went into the distribution's metadata
        return importlib.metadata.version(DISTRIBUTION)


def called_as(module: str) -> str:
    """The installed command's name, such as "omni-server", or "python -m server"."""
    name = Path(sys.argv[0]).name
    return name if name.startswith("omni") else f"python -m {module}"


def find_time_zone(name: str) -> ZoneInfo:
    """The IANA time zone of this name, such as Europe/Berlin. Raises `ValueError` for a name that is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # unknown; not a plain relative path; a folder
        raise ValueError(f"{name[:64]!r} is not an IANA time zone; give a name such as Europe/Berlin") from None


def local_time_zone() -> str | None:
    """The IANA name of this machine's time zone: `TZ`, else where /etc/localtime points; None where neither says."""
    name = os.environ.get("TZ", "").lstrip(":") or str(Path("/etc/localtime").resolve()).partition("zoneinfo/")[2]
    try:
        return find_time_zone(name).key if name else None
    except ValueError:
        return None
