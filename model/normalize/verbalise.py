"""From a token's text to its words: the verbalisers in order, then signs, spans and whatever is put together."""

from __future__ import annotations

import re
from collections.abc import Callable

from model.abbreviations import (
    COMPARISONS,
    DAYS,
    DOTTED,
    MONTH_NAMES,
    MONTHS,
    OPERATORS,
    SILENT,
    SYMBOLS,
    TITLES,
    WHOLE,
)
from model.normalize import addresses, dates, letters, numbers, quantities
from model.normalize.common import MARKS, Context
from model.normalize.common import letters as letter_names
from model.normalize.numbers import NUMBER, amount, counted, power, say

Verbaliser = Callable[[str, Context], str | None]

_WITH_DIGITS: tuple[Verbaliser, ...] = (
    addresses.say_email,
    dates.say_numeric_date,
    dates.say_day_month,
    addresses.say_telephone,
    dates.say_day,
    dates.say_time,
    dates.say_zone,
    dates.say_decade,
    quantities.say_money,
    quantities.say_magnified,
    quantities.say_large,
    quantities.say_length,
    quantities.say_unit,
    quantities.say_duration,
    quantities.say_coordinate,
    quantities.say_dimensions,
    quantities.say_quantity,
    quantities.say_rate,
    numbers.say_number,
    numbers.say_numbered,
    numbers.say_scientific,
    numbers.say_fraction,
    numbers.say_ratio,
    numbers.say_version,
    letters.say_chord,
    letters.say_formula,
)
_WITHOUT_DIGITS: tuple[Verbaliser, ...] = (
    addresses.say_email,
    letters.say_roman,
    dates.say_month,
    quantities.say_unit,
    quantities.say_units,
    letters.say_spelled,
    letters.say_chord,
    letters.say_capitals,
    letters.say_formula,
)
_ADDRESSES: tuple[Verbaliser, ...] = (addresses.say_url, addresses.say_path, addresses.say_handle)

_DOTTED_LETTERS = re.compile(r"(?:[A-Za-z]\.)+[A-Za-z]")
_PREFIX = re.compile(r"(\+/-|<=|>=|\+-|[<>≤≥~≈±=≠+-])(?=-?[.\d$£€¥₹(])(.+)")
_SPAN = re.compile(r"(-?[^-]*\d[^-]*)-(-?[^-]*\d[^-]*)")
_HALF_SPAN = re.compile(r"([ap]\.?m)\.?-(\d.*)", re.IGNORECASE)
_SPAN_PART = re.compile(
    rf"(-?)([$£€¥₹]?)({NUMBER})(%|°[CF]?|k|K|M|x|:\d\d(?: ?[ap]m)?|[ap]m| ?[ap]\.m\.?|st|nd|rd|th)?", re.IGNORECASE
)
_EXPRESSION = re.compile(
    rf"\d+(?:\.\d+){{2,}}|[$£€¥₹]?{NUMBER}(?:st|nd|rd|th)?%?|\^[({{]?[+-]?(?:\d+|[A-Za-z]\b)[)}}]?|[^\W\d_]+(?:'[^\W\d_]+)*|<=|>=|==|!=|->|=>|\*\*|&&"
    r"|\|\||//|::|^--|[\W_]"
)
_ARITHMETIC = re.compile(r"[=×÷√^*<>≤≥≠±]")
_ABSOLUTE = re.compile(r"\|([\w.+-]+)\|")


def verbalise(core: str, context: Context) -> str:
    """The words for a token without the marks around it; some of its own marks may be left in them."""
    known = _known(core, context)
    return _composed(core, context) if known is None else known


def _known(core: str, context: Context) -> str | None:
    """What the token is read as, where it is of one class."""
    name = core.lower()
    if said := WHOLE.get(name) or DOTTED.get(name):
        return said
    if core.isascii() and core.isalpha() and core.islower() and len(core) > 3:
        return quantities.say_unit(core, context)
    if name in TITLES and context.after[:1].isupper() and core[:1].isupper() and len(core) > 1:
        return TITLES[name]
    if re.fullmatch(r"[-=_*#~|]{2,}", core) and core not in OPERATORS:
        return ","
    if core == "|":
        return ","
    if core in OPERATORS:
        return _operator(core, context)
    if _DOTTED_LETTERS.fullmatch(core):
        return letter_names(core)
    if context.before[-1:].isdecimal() and name in ("am", "pm"):
        return letter_names(core)
    if "." in core or "/" in core or "\\" in core or core[0] in "@#" or "://" in core:
        for verbaliser in _ADDRESSES:
            if said := verbaliser(core, context):
                return said
    for verbaliser in _WITH_DIGITS if any(map(str.isdecimal, core)) else _WITHOUT_DIGITS:
        if said := verbaliser(core, context):
            return said
    return _signed(core, context) or _span(core, context)


def _operator(core: str, context: Context) -> str | None:
    """A sign that is a token of its own: an operation between operands, a span between times and days."""
    before, after = context.before.strip(MARKS), context.after.strip(MARKS)
    if core == "-" and _is_moment(before) and (_is_moment(after) or after[:1].isdecimal()):
        return "to"
    if core in ("x", "×") and (before[-1:] in ("′", "″") or after[-1:] in ("′", "″")):
        return "by"
    operands = all(re.search(r"[\d)²³|%]$|^[\d($|.]|^-?[\w]$|^-\d", one) for one in (before, after))
    between = operands and not context.parted
    if between:
        return OPERATORS[core]
    if core in COMPARISONS and core not in "-+=" and re.match(r"[$£€]?\d", after):
        return COMPARISONS[core]
    if core in SILENT:
        return "," if core == "-" else ""
    return None


def _is_moment(text: str) -> bool:
    """A time of day, a weekday or a month."""
    low = text.lower().rstrip(".")
    named = low in MONTHS or low in DAYS or text in MONTH_NAMES or low.endswith("day")
    return named or re.search(r"\d:\d\d|^\d+ ?[ap]m$|^[ap]\.?m$", low) is not None


def _signed(core: str, context: Context) -> str | None:
    """-5, ~20, ≥5, -$5: a comparison or a sign, and what it stands before."""
    match = _PREFIX.fullmatch(core)
    if match is None:
        return None
    return f"{COMPARISONS[match[1]]} {verbalise(match[2].strip('()'), context._replace(before=''))}"


def _span(core: str, context: Context) -> str | None:
    """10-20, 5%-10%, 9am-5pm, 1985-86: two numbers of a kind with "to" between them."""
    if half := _HALF_SPAN.fullmatch(core):
        return f"{letter_names(half[1])} to {verbalise(half[2], context._replace(before=''))}"
    match = _SPAN.fullmatch(core)
    if match is None:
        return _named_span(core)
    low, high = match.groups()
    if low == high:
        return f"{counted(low)} {counted(high)}" if low.isdecimal() else None
    if dates.is_month(context.before) and all(part.isdecimal() and 0 < int(part) < 32 for part in (low, high)):
        return f"{say(int(low), 'ordinal')} to {say(int(high), 'ordinal')}"
    parts = [_SPAN_PART.fullmatch(part) for part in (low, high)]
    if parts[0] is None:
        return None
    if parts[1] is None and quantities.say_quantity(high, context) is None and dates.say_time(high, context) is None:
        return None
    lone = parts[0][2] + (parts[0][4] or "") + (parts[0][1] or "")
    first = counted(low) if not lone and re.fullmatch(NUMBER, low) else verbalise(low, Context("", high))
    if parts[0][2] and parts[1] is not None and parts[1][2]:
        first = amount(parts[0][3])
    return f"{first} to {verbalise(high, context._replace(before=''))}"


def _named_span(core: str) -> str | None:
    """Mon-Fri, Jan-Mar."""
    low, dash, high = core.replace(".", "").partition("-")
    for table in (DAYS, MONTHS):
        if dash and low.lower() in table and high.lower() in table and low[0].isupper():
            return f"{table[low.lower()]} to {table[high.lower()]}"
    return None


# -- whatever is put together -----------------------------------------------------------------------------------------
def _composed(core: str, context: Context) -> str:
    """A token of several kinds: its runs of digits, letters and signs, each in words."""
    if re.fullmatch(r"[A-Z]+-?\d+s", core):  # several of a code: "MP3s"
        return f"{verbalise(core[:-1], context)}s"
    core = _ABSOLUTE.sub(r" absolute value of \1 ", core)
    if "-" in core.strip("-") and not _ARITHMETIC.search(core):
        pieces = [piece for piece in core.split("-") if piece]
        if len(pieces) > 1:
            lead = "minus " if core[0] == "-" and core[1:2].isdecimal() else ""
            return lead + " ".join(_piece(piece, context) for piece in pieces)
    if core.strip("/") and "/" in core and not any(map(str.isdecimal, core)) and not _ARITHMETIC.search(core):
        return " slash ".join(_piece(piece, context) for piece in core.split("/") if piece)
    return _expression(core)


def _piece(piece: str, context: Context) -> str:
    said = _known(piece, Context("", context.after)) if len(piece) > 1 or piece.isdecimal() else piece
    return _expression(piece) if said is None else said


def _expression(core: str) -> str:
    parts = _EXPRESSION.findall(core)
    arithmetic = _ARITHMETIC.search(core) is not None
    code = any(map(str.isdecimal, core))
    said: list[str] = []
    for index, part in enumerate(parts):
        before = parts[index - 1] if index else ""
        after = parts[index + 1] if index + 1 < len(parts) else ""
        said.append(
            part if arithmetic and len(part) == 1 and part.isalpha() else _run(part, before, after, arithmetic, code)
        )
    return " ".join(one for one in said if one)


def _run(part: str, before: str, after: str, arithmetic: bool, code: bool) -> str:
    """One run of a composed token."""
    if any(map(str.isdecimal, part)) and part[0] != "^":
        return _known(part, Context()) or amount(re.sub(r"\D", "", part))
    if part[0] == "^" and len(part) > 1:
        exponent = part.strip("^(){}")
        return power(exponent) if exponent.lstrip("+-").isdecimal() else f"to the power of {exponent}"
    if part[0].isalpha() and part not in SYMBOLS:
        return _letters_in_code(part) if code else letters.say_capitals(part, Context()) or part
    return _sign(part, before, after, arithmetic)


def _letters_in_code(part: str) -> str:
    if len(part) == 1 or (len(part) < 4 and not letters.is_word(part)):
        return letter_names(part)
    return letters.say_capitals(part, Context()) or part


def _sign(part: str, before: str, after: str, arithmetic: bool) -> str:
    """A sign between the runs of a token."""
    infix = (
        bool(before)
        and bool(after)
        and (before[-1].isalnum() or before in ")|π")
        and (after[0].isalnum() or after in "(-√π|")
    )
    if part == "--":
        return "dash dash"
    if part == "-":
        if arithmetic and after:
            return "minus"
        if before or not after:
            return ""
        return "minus" if after[0].isdecimal() or len(after) == 1 else "dash"
    if part == "/" and arithmetic:
        return "divided by"
    if infix and part in OPERATORS and part not in ("/", "~", "%"):
        return OPERATORS[part]
    if not before and part in COMPARISONS and after:
        return COMPARISONS[part]
    if part == "." and before and after:
        return "dot" if before[-1].isalnum() and after[0].isalnum() else "."
    if part == "&&":
        return "and"
    if part == "||":
        return "or"
    if part in ("==", "!=", "->", "=>", "<=", ">=", "**"):
        return OPERATORS[part]
    if len(part) > 1:
        return " ".join(_sign(one, "", "", arithmetic) for one in part)
    return SYMBOLS.get(part, part)
