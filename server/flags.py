"""The command line of `Settings`: `--help` in groups, with units, ranges and defaults, and `--version`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import CliApp, CliSettingsSource

from omni_command import called_as, version
from server.settings import GROUPS, Settings

_EPILOG = """\
Every flag has an environment variable: --end-silence-ms is OMNI_END_SILENCE_MS. A file .env in the current folder may
set them too. A flag goes before the environment, the environment before the file, and that before the default.

Ctrl-C or SIGTERM lets answers in progress end first; a second one stops at once.
"""
_UNITS = {"_per_s": "PER_SECOND", "_ms": "MS", "_s": "SECONDS", "_bytes": "BYTES"}


def groups() -> dict[str, list[str]]:
    """Title of each group → its settings, in order."""
    found: dict[str, list[str]] = {}
    title = ""
    for name in Settings.model_fields:
        title = GROUPS.get(name, title)
        found.setdefault(title, []).append(name)
    return found


def default_of(name: str) -> str:
    """As it is told: "500", "40", "on", "none", …"""
    value = Settings.model_fields[name].default
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if name == "static_dir":
        return "the server's own"
    return str(value) if value not in (None, "") else "none"


def range_of(name: str) -> str:
    """The values that a number may have: "200 to 3000", "above 0, to 120"; empty where nothing bounds it."""
    field: FieldInfo = Settings.model_fields[name]
    bounds = {
        key: getattr(rule, key) for rule in field.metadata for key in ("ge", "gt", "le", "lt") if hasattr(rule, key)
    }
    low = f"{bounds['ge']}" if "ge" in bounds else f"above {bounds['gt']}" if "gt" in bounds else ""
    high = f"to {bounds['le']}" if "le" in bounds else f"below {bounds['lt']}" if "lt" in bounds else ""
    return (" " if "ge" in bounds and "le" in bounds else ", ").join(part for part in (low, high) if part)


def parse(arguments: Sequence[str] | None = None) -> Settings:
    """The command line, the environment and `.env` → settings. Raises `pydantic.ValidationError`.

    Ends the process after `--help` and `--version`, and with status 2 at a flag that is unknown.
    """
    parser = argparse.ArgumentParser(
        called_as("server"), "%(prog)s [flags]", Settings.__doc__, _EPILOG, formatter_class=_Layout
    )
    parser.add_argument("--version", action="version", version=f"mini-omni {version()}")
    sections: dict[str, argparse._ArgumentGroup] = {}
    for title, members in groups().items():
        sections |= dict.fromkeys(members, parser.add_argument_group(title))

    def add(_: argparse.ArgumentParser, *flags: str, **options: Any) -> argparse.Action:
        name = flags[0].removeprefix("--").replace("-", "_")
        told = "; ".join(part for part in (f"default: {default_of(name)}", range_of(name)) if part)
        options["help"] = f"{Settings.model_fields[name].description} ({told})".replace("%", "%%")
        if options.get("metavar") in ("int", "float"):
            options["metavar"] = next((unit for end, unit in _UNITS.items() if name.endswith(end)), "N")
        elif options.get("metavar") in ("str", "Path"):
            options["metavar"] = name.rpartition("_")[2].upper()
        return sections[name].add_argument(*flags, **options)

    source: CliSettingsSource[argparse.ArgumentParser] = CliSettingsSource(
        Settings, root_parser=parser, add_argument_method=add
    )
    return CliApp.run(Settings, cli_args=None if arguments is None else list(arguments), cli_settings_source=source)


class _Layout(argparse.RawDescriptionHelpFormatter):
    """Room for most flags beside their text."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=116)
