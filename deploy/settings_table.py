"""Writes the tables of settings into docs/deploy.md, from `server/settings.py`: `python -m deploy.settings_table`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args, get_origin

from server.flags import default_of, groups, range_of
from server.settings import Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "deploy.md"
BEGIN, END = "<!-- settings: python -m deploy.settings_table -->\n", "<!-- end of settings -->\n"


def tables() -> str:
    """A heading and a table for each group, as Markdown."""
    lines: list[str] = []
    for title, members in groups().items():
        lines += [f"### {title}", "", "| flag | default | | what |", "|---|---|---|---|"]
        lines += [_row(name) for name in members]
        lines += [""]
    return "\n".join(lines)


def written(page: str) -> str:
    """The page with the tables of now between its marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{tables()}\n{END}{rest.split(END)[1]}"


def _row(name: str) -> str:
    field = Settings.model_fields[name]
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    allowed = ", ".join(f"`{choice}`" for choice in choices) or range_of(name)
    what = (field.description or "").replace("|", "\\|").replace("*", "\\*")
    return f"| `--{name.replace('_', '-')}` | {default_of(name)} | {allowed} | {what} |"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
