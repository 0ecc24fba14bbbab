"""A time zone in what clients send."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from omni_command import find_time_zone

TimeZone = Annotated[str, Field(max_length=64), AfterValidator(lambda name: find_time_zone(name).key)]
"""An IANA name such as Europe/Berlin; anything else is refused with a message that says so."""
