"""docs/realtime.md tells of every event that the API has."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import pytest
from openai.types.realtime.realtime_client_event import RealtimeClientEvent
from openai.types.realtime.realtime_server_event import RealtimeServerEvent

DOCUMENT = Path(__file__).parents[2] / "docs" / "realtime.md"


def names(union: object) -> list[str]:
    kinds = typing.get_args(typing.get_args(union)[0])
    return [typing.get_args(kind.model_fields["type"].annotation)[0] for kind in kinds]


@pytest.mark.parametrize(
    ("heading", "union"), [("## Client events", RealtimeClientEvent), ("## Server events", RealtimeServerEvent)]
)
def test_every_event_has_its_row(heading: str, union: object) -> None:
    section = DOCUMENT.read_text().split(heading)[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    told = [name for row in rows for name in re.findall(r"`([a-z_.]+)`", row.split("|")[1])]
    assert sorted(told) == sorted(names(union))
