"""Times of day in an answer."""

from __future__ import annotations

import re
from datetime import datetime

TOLERANCE_MINUTES = 3
_TIME = re.compile(
    r"\b(\d{1,2}) ?(\d{2})?(?: (?:oclock|hours))?(?: (?:exactly|in the))?"
    r"(?: (a m|p m|am|pm|morning|afternoon|evening|night))?\b"
)
_LATER_HALF = ("p m", "pm", "afternoon", "evening", "night")


def tells_time(normal: str, moment: datetime) -> bool:
    """Whether a time in a text in normal form, of 12 or 24 hours, lies within three minutes of the moment."""
    now = 60 * moment.hour + moment.minute
    apart = (abs(told - now) % 1440 for told in times(normal))
    return any(min(one, 1440 - one) <= TOLERANCE_MINUTES for one in apart)


def times(normal: str) -> list[int]:
    """Minutes of the day that the times in a text may mean; without "a m" or "p m" both halves of the day."""
    text = re.sub(r"\boh (\d)\b", r"0\1", normal)
    text = re.sub(r"\b([01]?\d|2[0-3])([0-5]\d)\b", r"\1 \2", text)
    found = []
    for hour, minute, half in _TIME.findall(text):
        hours, minutes = int(hour), int(minute or 0)
        if hours > 24 or minutes > 59:
            continue
        if half in _LATER_HALF:
            found.append(60 * (hours % 12 + 12) + minutes)
        elif half:
            found.append(60 * (hours % 12) + minutes)
        else:
            found += [60 * one + minutes for one in ((hours, hours + 12) if hours <= 12 else (hours,))]
    return found
