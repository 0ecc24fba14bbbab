"""Dates, decades, times of day and their zones."""

from __future__ import annotations

import re

from model.abbreviations import DAYS, MONTH_NAMES, MONTHS
from model.normalize.common import Context, letters
from model.normalize.numbers import amount, digits, say, year

MONTH = r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)"  # fmt: skip  # noqa: E501
_YEAR_FIRST = re.compile(
    r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?:T(\d{1,2}:\d{2}(?::\d{2})?)(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?)?"
)
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})")
_DAY_MONTH = re.compile(rf"(\d{{1,2}})(?:st|nd|rd|th)?(?: of)?[ -]({MONTH})\.?,?(?:[ -](\d{{4}}|'?\d{{2}}))?")
_MONTH_DAY = re.compile(rf"({MONTH})-(\d{{1,2}})(?:-(\d{{4}}))?")
_MONTH_YEAR = re.compile(r"(0?[1-9]|1[0-2])/((?:19|20)\d\d)")
_DECADE = re.compile(r"'?(\d0|\d{3}0)'?s")
_CLOCK = r"(\d{1,2}):(\d{2})(?::(\d{2}))?"
_HALF = r"([AaPp])\.?[Mm]\.?"
_TIME = re.compile(rf"{_CLOCK}(?: ?{_HALF})?")
_TIME_WITH_POINT = re.compile(rf"(\d{{1,2}})\.(\d{{2}}) ?{_HALF}")
_HOUR = re.compile(rf"(\d{{1,2}}) ?{_HALF}")
_ZONED = re.compile(r"(UTC|GMT)([+-])(\d{1,2})(?::?(\d{2}))?")
_ZULU = re.compile(rf"{_CLOCK}Z")
_MONTH_SET = frozenset((*MONTHS, *(name.lower() for name in MONTH_NAMES)))


def _date(day: int, month: int, year_digits: str) -> str | None:
    """A date in words, month first; None where there is no such day."""
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    if len(year_digits) == 4:
        said = year(year_digits) or amount(year_digits)
    else:
        said = f"oh {digits(year_digits[1])}" if year_digits[0] == "0" else amount(year_digits)
    return f"{MONTH_NAMES[month - 1]} {say(day, 'ordinal')}, {said}"


def say_numeric_date(core: str, context: Context) -> str | None:
    """2024-12-25 (with a time too), 12/25/2024, 25/12/2024, 25.12.2024, 12/25/24.

    The month comes first as in the United States, unless it cannot or points part the numbers.
    """
    if match := _YEAR_FIRST.fullmatch(core):
        said = _date(int(match[4]), int(match[3]), match[1])
        if said is None or match[5] is None:
            return said
        return f"{said}, {say_time(match[5], Context())}{_offset(match[6])}"
    if match := _YEAR_LAST.fullmatch(core):
        one, mark, other, last = int(match[1]), match[2], int(match[3]), match[4]
        if len(last) == 2 and mark == "-" and not (one > 12 or other > 12):
            return None
        month_first, day_first = _date(other, one, last), _date(one, other, last)
        return (day_first or month_first) if mark == "." and len(last) == 4 else (month_first or day_first)
    if match := _MONTH_YEAR.fullmatch(core):
        return f"{MONTH_NAMES[int(match[1]) - 1]} {year(match[2])}"
    return None


def _offset(zone: str | None) -> str:
    if zone is None:
        return ""
    if zone == "Z":
        return f" {letters('UTC')}"
    return f" {say_zone(f'UTC{zone}', Context())}"


def say_day_month(core: str, context: Context) -> str | None:
    """4 July 2021, 4th of July, 25-Dec-2024."""
    if match := _DAY_MONTH.fullmatch(core):
        day, month, last = match.groups()
        if not 1 <= int(day) <= 31:
            return None
        article = "" if context.before.lower() == "the" else "the "
        said = f"{article}{say(int(day), 'ordinal')} of {month_name(month)}"
        if last:
            plain = last.lstrip("'")
            said += f" {year(plain) or (amount(plain) if plain[0] != '0' else f'oh {digits(plain[1:])}')}"
        return said
    if match := _MONTH_DAY.fullmatch(core):
        last = f", {year(match[3]) or amount(match[3])}" if match[3] else ""
        return f"{month_name(match[1])} {say(int(match[2]), 'ordinal')}{last}" if 1 <= int(match[2]) <= 31 else None
    return None


def month_name(name: str) -> str:
    """A month's full name."""
    return MONTHS.get(name.lower(), name)


def say_month(core: str, context: Context) -> str | None:
    """A month or a weekday written short before or after a number, or beside another."""
    if core.lower() in MONTHS and core[0].isupper() and core != "May" and not core.isupper():
        beside = context.after[:1].isdecimal() or context.before[-1:].isdecimal()
        if beside or context.before.lower() in ("in", "since", "until", "by", "of", "last", "next", "to"):
            return MONTHS[core.lower()]
    if core in ("Mon", "Tue", "Tues", "Wed", "Thu", "Thur", "Thurs", "Fri"):
        return DAYS[core.lower()]
    if core in ("Sat", "Sun") and (context.after[:1].isdecimal() or context.after[:3].lower() in MONTHS):
        return DAYS[core.lower()]
    return None


def is_month(word: str) -> bool:
    """Whether a word is a month, in full or written short."""
    return word.lower().rstrip(".") in _MONTH_SET


def say_day(core: str, context: Context) -> str | None:
    """The day of the month after the month's name: "July 4"."""
    if core.isdecimal() and len(core) < 3 and 0 < int(core) < 32 and is_month(context.before):
        return say(int(core), "ordinal")
    return None


def say_decade(core: str, context: Context) -> str | None:
    """1990s, '80s, 2000s."""
    match = _DECADE.fullmatch(core)
    if match is None:
        return None
    text = match[1]
    if len(text) == 4 and text[2:] == "00":
        return f"{say(int(text[:2]))} hundreds" if text[1] != "0" else f"{say(int(text))}s"
    tens = say(int(text[-2:]))
    if len(text) == 2 and text == "00":
        return "two thousands"
    plural = f"{tens[:-1]}ies" if tens.endswith("y") else f"{tens}s"
    return f"{say(int(text[:2]))} {plural}" if len(text) == 4 else plural


def say_time(core: str, context: Context) -> str | None:
    """10:30, 9:05 pm, 9.30am, 17:00, 10:30:15, 5 pm; minutes beyond 59 are no time."""
    if match := _TIME.fullmatch(core) or _ZULU.fullmatch(core):
        hour, minute, second = match[1], match[2], match[3]
        half = match[4] if match.re is _TIME else None
        if int(hour) > 24 or int(minute) > 59 or int(second or 0) > 59 or _is_ratio(core, context):
            return None
        said = _clock(hour, minute, second, half or _half_follows(context.after))
        return f"{said} {letters(half + 'm')}" if half else said + (f" {letters('UTC')}" if core[-1] == "Z" else "")
    if match := _TIME_WITH_POINT.fullmatch(core):
        return f"{_clock(match[1], match[2], None, match[3])} {letters(match[3] + 'm')}"
    if match := _HOUR.fullmatch(core):
        return f"{amount(match[1])} {letters(match[2] + 'm')}"
    return None


def _is_ratio(core: str, context: Context) -> bool:
    """16:10 beside "ratio", "odds", "aspect"."""
    near = (context.before.lower(), context.after.lower().strip(".,;:?!"))
    return any(word in ("ratio", "odds", "aspect", "score", "format", "scale", "mix") for word in near)


def _half_follows(after: str) -> bool:
    return re.match(r"[ap]\.?m\b", after, re.IGNORECASE) is not None


def _clock(hour: str, minute: str, second: str | None, half: object) -> str:
    hours, minutes = say(int(hour)), int(minute)
    if second is not None:
        parts = ((int(hour), "hour"), (minutes, "minute"), (int(second), "second"))
        said = [f"{say(number)} {name}{'' if number == 1 else 's'}" for number, name in parts]
        return f"{said[0]} {said[1]} and {said[2]}"
    if hour in ("00", "0"):
        hours = "zero hours"
    elif minutes == 0:
        return hours if half else f"{hours} o'clock"
    return f"{hours} {'oh ' if 0 < minutes < 10 else ''}{say(minutes) if minutes else ''}".strip()


def say_zone(core: str, context: Context) -> str | None:
    """UTC+2, GMT-5:30."""
    match = _ZONED.fullmatch(core)
    if match is None:
        return None
    minutes = f" {say(int(match[4]))}" if match[4] and int(match[4]) else ""
    return f"{letters(match[1])} {'plus' if match[2] == '+' else 'minus'} {say(int(match[3]))}{minutes}"
