"""Quantities: money, units of measure, temperatures, feet and inches, coordinates."""

from __future__ import annotations

import re

from model.abbreviations import (
    AFTER_DECIMALS,
    COUNTED,
    CURRENCIES,
    DOTTED_UNITS,
    FOLDED_UNITS,
    MAGNITUDES,
    MULTIPLIERS,
    NOT_PLURAL,
    PLURALS,
    SCREENS,
    UNITS,
)
from model.normalize.common import Context, letters
from model.normalize.numbers import NUMBER, amount, mixed, say

# -- money ------------------------------------------------------------------------------------------------------------
_SIGN = r"(?:US\$|NZ\$|HK\$|A\$|C\$|R\$|[$£€¥₹₩₽₺₿])"
_CODE = r"(?:USD|EUR|GBP|JPY|CHF|CAD|AUD|INR|CNY|SEK|NOK|DKK|PLN|BTC)"
_LARGE = r"(?:[kKmMbBtT]|mn|mln|MM|[bB]n|bln|tr?n|thousand|million|billion|trillion)"
_SPAN = rf"{NUMBER}(?:\s?(?:-|to)\s?{NUMBER})?"
_PER = r"(?:/([A-Za-z]\w*))?(\+)?"
_BEFORE = re.compile(rf"(-?)({_SIGN} ?|{_CODE} )(-?)(\d[\d,.]*?|\.\d+)(?:-\2?(\d[\d,.]*?))?(?:[ -]?({_LARGE}))?{_PER}")
_BEHIND = re.compile(rf"(-?)()(-?)(\d[\d,.]*?|\.\d+)(?:-(\d[\d,.]*?))?(?: ?({_LARGE}))? ?({_SIGN}|¢|{_CODE}){_PER}")
_AMOUNT = re.compile(NUMBER)
_POINT_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:\.\d{3})+")
_COMMA_DECIMAL = re.compile(r"(\d{1,3}(?:\.\d{3})*|\d+),(\d{2})")


def _plain(number: str) -> str | None:
    """An amount of money in English notation; None where it is none."""
    if _AMOUNT.fullmatch(number):
        return number
    match = _COMMA_DECIMAL.fullmatch(number)
    return f"{match[1].replace('.', '')}.{match[2]}" if match else None


def say_money(core: str, context: Context) -> str | None:
    """$5, -$5, 50 €, £3.5bn, $1-2 million, 20 USD, 5¢, $10/month."""
    if match := _BEFORE.fullmatch(core):
        minus, sign, inner, low, high, large, per, more = match.groups()
    elif match := _BEHIND.fullmatch(core):
        minus, _, inner, low, high, large, sign, per, more = match.groups()
    else:
        return None
    if sign == "€" and _POINT_THOUSANDS.fullmatch(low):
        low = low.replace(".", "")
    numbers = [_plain(part) for part in (low, high) if part]
    if None in numbers:
        return None
    said = _money([number for number in numbers if number], sign.strip(), large, context)
    rate = f" per {unit_of(per, single=True) or per}" if per else ""
    return f"{'minus ' if minus or inner else ''}{said}{rate}{' plus' if more else ''}"


def _money(numbers: list[str], sign: str, large: str | None, context: Context) -> str:
    one, many, cent, cents = CURRENCIES[sign]
    if large:
        return f"{' to '.join(map(amount, numbers))} {MULTIPLIERS.get(large, large)} {many}"
    if len(numbers) == 2:
        return f"{amount(numbers[0])} to {amount(numbers[1])} {many}"
    whole, _, part = numbers[0].partition(".")
    if len(part) != 2 or not cent:
        return f"{amount(numbers[0])} {one if numbers[0] == '1' else many}"
    coins = f"{say(int(part))} {cent if int(part) == 1 else cents}"
    if whole in ("", "0") and int(part):
        return coins
    return f"{amount(whole)} {one if whole == '1' else many}" + (f" and {coins}" if int(part) else "")


# -- units ------------------------------------------------------------------------------------------------------------
_UNIT = re.compile(r"([A-Za-zµμΩ°º℃℉]+)(?:\^?([23²³]))?")
_AREA = re.compile(r"(sq|cu|fl)\.? ([a-z]+)\.?")
_QUANTITY = re.compile(
    rf"([+-]?)({NUMBER})(?:(-)([+-]?{NUMBER}))?(?: (\d+)/(\d+))?(?P<space>[ -]?)"
    r"((?:sq|cu|fl)\.? [a-z]+|[A-Za-zµμΩ°º℃℉][A-Za-zµμΩ°º℃℉]*\^?[23]?(?:[/·⋅*][A-Za-zµμΩ]+\^?[23]?)*)\.?"
)
_RATE = re.compile(rf"({NUMBER})(%|x)?/([A-Za-z]{{2,}})")
_FEET = re.compile(r"(\d+)(?:['′] ?| ?ft\.? |-foot-)(\d+(?:\.\d+)?)(?:\"|″|''| ?in\.?)?")
_LENGTH = re.compile(rf"({NUMBER})(?: (\d+)/(\d+))?(['′\"″])")
_CLOCKED = re.compile(r"(?:(\d+)h)? ?(?:(\d+)m(?:in)?)? ?(?:(\d+)s)?")
_COORDINATE = re.compile(r"(\d+(?:\.\d+)?)°(?: ?(\d+(?:\.\d+)?)['′])?(?: ?(\d+(?:\.\d+)?)[\"″])? ?([NSEW])?")
_BY = re.compile(rf"({NUMBER})([a-z′″]*)[x×]({NUMBER})(?:[x×]({NUMBER}))?([a-z′″]*)")
_COMPASS = {"N": "north", "S": "south", "E": "east", "W": "west"}
_SECONDS = ("second", "minute", "hour", "millisecond", "microsecond", "nanosecond")
_LARGE_LETTERS = {"K": "thousand", "M": "million", "B": "billion", "T": "trillion"}
_MAGNIFIED = re.compile(rf"({NUMBER})(?:-({NUMBER}))?([KMBTk]|mn|bn|tn|mln|bln)(\+)?")


def _name(unit: str) -> str | None:
    unit = unit.replace("μ", "µ").replace("℃", "°C").replace("℉", "°F")
    return UNITS.get(unit) or FOLDED_UNITS.get(unit.lower())


def _plural(name: str) -> str:
    head, _, rest = name.partition(" ")
    if head in ("light", "square", "cubic", "fluid") or rest.startswith(("hour", "meter")):
        first, _, last = name.rpartition(" ")
        return f"{first} {PLURALS.get(last, f'{last}s')}"
    return f"{PLURALS.get(head, f'{head}s')} {rest}".strip()


def _factor(text: str, single: bool) -> str | None:
    """One unit with its exponent: "m2" → "square meters", "s2" → "seconds squared"."""
    match = _UNIT.fullmatch(text)
    name = _name(match[1]) if match else None
    if match is None or name is None:
        return None
    exponent = {"2": "square", "²": "square", "3": "cubic", "³": "cubic"}.get(match[2])
    if exponent and name not in _SECONDS:
        name = f"{exponent} {name}"
    said = name if single else _plural(name)
    return f"{said} {'squared' if exponent == 'square' else 'cubed'}" if exponent and name in _SECONDS else said


def _share(text: str) -> str | None:
    """What a rate is taken of: "person", "100km"."""
    match = re.fullmatch(r"(\d+)([A-Za-z]+)", text)
    if match and _name(match[2]):
        return f"{amount(match[1])} {_factor(match[2], single=False)}"
    return text if len(text) > 2 and text.islower() and text.isalpha() else None


def unit_of(text: str, single: bool) -> str | None:
    """What a unit is called: "km/h", "m/s^2", "kg·m", "sq ft"; None where it is none. Capitals count."""
    if area := _AREA.fullmatch(text):
        kind = {"sq": "square", "cu": "cubic", "fl": "fluid"}[area[1]]
        name = _name(area[2])
        return None if name is None else f"{kind} {name}" if single else _plural(f"{kind} {name}")
    above, *below = text.split("/")
    factors = re.split(r"[·⋅*]", above)
    said = [_factor(factor, single or index + 1 < len(factors)) for index, factor in enumerate(factors)]
    said += [_factor(part, single=True) or _share(part) for part in below]
    if None in said:
        return None
    words = [one for one in said if one]
    return " per ".join([" ".join(words[: len(factors)]), *words[len(factors) :]])


def say_quantity(core: str, context: Context) -> str | None:
    """5 km, 9.8 m/s^2, 20°C, 10-15 kg, 1 1/2 cups' worth of units."""
    match = _QUANTITY.fullmatch(core)
    if match is None:
        return None
    sign, low, dash, high, above, below, space, name = match.groups()
    single = low == "1" and not dash and not above
    unit = unit_of(name, single)
    if unit is None or (space == "-" and (dash or not name.islower())):
        return None
    if name in AFTER_DECIMALS and not ("." in low or (name in ("K", "J", "N") and len(low) > 2 and space)):
        return None
    if (name == "d" and not space) or (name in ("m", "g", "l", "s", "h", "b") and space == "-"):
        return None
    said = {"-": "minus ", "+": "plus "}.get(sign, "") + (mixed(low, above, below) if above else amount(low))
    if high:
        said += f" to {'minus ' if high[0] == '-' else ''}{amount(high.lstrip('+-'))}"
    return f"{said} {unit}"


def say_unit(core: str, context: Context) -> str | None:
    """A unit after a number that is a token of its own."""
    before = context.before
    if context.parted or not before[-1:].isdecimal() or not re.match(r"[-+~<>≤≥±$]?[\d.]", before):
        return None
    if core.islower() and core == "in":
        return None
    if core in AFTER_DECIMALS and not ("." in before or (core == "K" and (len(before) > 2 or before == "0"))):
        return None
    if core in ("a", "at", "as", "am", "bar", "atm", "mm", "mo") and core not in ("bar", "mm", "atm"):
        return None
    single = before.lstrip("-+~<>≤≥±") == "1"
    if said := unit_of(core, single):
        return said
    what, _, per = core.partition("/")
    return f"{what} per {_name(per)}" if what.isalpha() and _name(per) in _SECONDS else None


def dotted_unit(core: str, context: Context) -> str | None:
    """A unit after a number that is written with a full stop: "5 in."."""
    before = context.before
    if context.parted or not before[-1:].isdecimal() or (core not in DOTTED_UNITS and core.lower() not in DOTTED_UNITS):
        return None
    return unit_of(core, before == "1") or unit_of(core.lower(), before == "1")


def say_units(core: str, context: Context) -> str | None:
    """km/h without a number."""
    if "/" not in core or not all(_name(part) and len(part) < 5 for part in core.split("/")):
        return None
    return unit_of(core, single=False) if core != "w/w" else None


def say_rate(core: str, context: Context) -> str | None:
    """3/day, 5%/year."""
    match = _RATE.fullmatch(core)
    if match is None:
        return None
    per = unit_of(match[3], single=True) or (match[3] if match[3].islower() else None)
    times = {"%": " percent", "x": " times"}.get(match[2], "")
    return f"{amount(match[1])}{times} per {per}" if per else None


def say_length(core: str, context: Context) -> str | None:
    """5'10", 6 ft 2 in, 12", 6'."""
    if (match := _FEET.fullmatch(core)) and (float(match[2]) < 12):
        feet, part = match.groups()
        inches = f"{amount(part)} {'inch' if part == '1' else 'inches'}"
        return f"{amount(feet)} {'foot' if feet == '1' else 'feet'} {inches}"
    if match := _LENGTH.fullmatch(core):
        said = mixed(match[1], match[2], match[3]) if match[2] else amount(match[1])
        single = match[1] == "1" and not match[2]
        unit = ("foot" if single else "feet") if match[4] in "'′" else "inch" if single else "inches"
        return f"{said} {unit}"
    return None


def say_duration(core: str, context: Context) -> str | None:
    """1h30m, 2h 15m 30s, 5m30s: at least two units."""
    if core[-1] == "m" and core[:-1].isdecimal() and re.fullmatch(r"\d+h(?:rs?)?|hours?|hrs?|h", context.before):
        return f"{amount(core[:-1])} minute{'' if core == '1m' else 's'}"
    match = _CLOCKED.fullmatch(core)
    if match is None or len([one for one in match.groups() if one]) < 2:
        return None
    names = zip(match.groups(), ("hour", "minute", "second"), strict=True)
    return " ".join(f"{amount(number)} {name}{'' if number == '1' else 's'}" for number, name in names if number)


def say_coordinate(core: str, context: Context) -> str | None:
    """40°42'46"N, 74° W."""
    match = _COORDINATE.fullmatch(core)
    if match is None or not (match[2] or match[4]):
        return None
    degrees, minutes, seconds, side = match.groups()
    said = f"{amount(degrees)} degrees"
    said += f" {amount(minutes)} minutes" if minutes else ""
    said += f" {amount(seconds)} seconds" if seconds else ""
    return f"{said} {_COMPASS[side]}" if side else said


def say_dimensions(core: str, context: Context) -> str | None:
    """1920x1080, 4x4, 2x3x4 cm: "by"."""
    match = _BY.fullmatch(core)
    if match is None or "×" in core:
        return None
    first, unit, second, third, last = match.groups()
    marks = {"": "", "″": " inches", "′": " feet"}
    names = [marks.get(one) if one in marks else f" {unit_of(one, single=False)}" for one in (unit, last)]
    if any(one is None or "None" in one for one in names):
        return None
    numbers = [_screen(number) for number in (first, second, third) if number]
    return f"{numbers[0]}{names[0]} by {' by '.join(numbers[1:])}{names[1]}"


def _screen(number: str) -> str:
    if len(number) == 4 and number.isdecimal() and number[2] != "0":
        return f"{say(int(number[:2]))} {say(int(number[2:]))}"
    return amount(number)


def say_magnified(core: str, context: Context) -> str | None:
    """10k, 5 bn, 2M users, 7B: a capital is a magnitude before a plural, else a letter."""
    match = _MAGNIFIED.fullmatch(core)
    if match is None:
        return None
    low, high, large, more = match.groups()
    said = amount(low) + (f" to {amount(high)}" if high else "")
    after = context.after.strip(".,;:?!")
    counts = (
        after.islower()
        and after not in SCREENS
        and (after in COUNTED or (after.endswith("s") and len(after) > 3 and after not in NOT_PLURAL))
    )
    if large in _LARGE_LETTERS and not counts:
        name = letters(large)
    else:
        name = MULTIPLIERS[large]
    return f"{said} {name}{' plus' if more else ''}"


def say_large(core: str, context: Context) -> str | None:
    """2.5 million, 10-20 billion."""
    number, _, large = core.partition(" ")
    if large.lower() not in MAGNITUDES or not re.fullmatch(rf"{NUMBER}(?:-{NUMBER})?", number):
        return None
    return f"{' to '.join(map(amount, number.split('-')))} {large}"
