"""Seeded inputs of every class that the oracle knows: (class, written)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from model.abbreviations import MONTH_NAMES

_MONTHS = "January February March April June July August September October November December".split()  # noqa: SIM905
_NAMES = "Smith Lee Jones Brown Hill Green Wood Stone Baker Young King Clark Hall Moore Reed Cook Bell Fox".split()  # noqa: SIM905
_PER_CLASS = 70


def _grouped(number: int) -> str:
    return f"{number:,}"


def _cardinal(r: random.Random) -> str:
    return r.choice([str(r.randint(0, 999)), str(r.randint(10_000, 9_999_999)), str(r.randint(0, 99))])


def _thousands(r: random.Random) -> str:
    return _grouped(r.randint(1000, 10 ** r.randint(4, 9)))


def _ordinal(r: random.Random) -> str:
    number = r.randint(1, 1200)
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _decimal(r: random.Random) -> str:
    return f"{r.randint(0, 9999 if r.random() < 0.2 else 120)}.{r.randint(0, 999):0{r.randint(1, 3)}d}"


def _fraction(r: random.Random) -> str:
    below = r.randint(2, 20)
    part = f"{r.randint(1, below - 1)}/{below}"
    return part if r.random() < 0.5 else f"{r.randint(1, 30)} {part}"


def _money(r: random.Random) -> str:
    sign, amount = r.choice("$£€"), r.randint(1, 2000)
    return r.choice([f"{sign}{amount}", f"{sign}{_grouped(amount * 1000)}", f"{sign}{amount}.{r.randint(1, 99):02d}"])


def _money_magnitude(r: random.Random) -> str:
    number = r.choice([str(r.randint(2, 900)), f"{r.randint(1, 99)}.{r.randint(1, 9)}"])
    return f"{r.choice('$£€')}{number} {r.choice(['million', 'billion', 'trillion'])}"


def _percent(r: random.Random) -> str:
    return r.choice([f"{r.randint(0, 150)}%", f"{r.randint(0, 99)}.{r.randint(1, 9)}%"])


def _unit(r: random.Random) -> str:
    unit = r.choice("km cm mm kg mg km/h GHz kHz MB GB ml lbs oz kW kWh ft mph Mbps hPa".split())  # noqa: SIM905
    number = r.choice([str(r.randint(2, 500)), f"{r.randint(2, 99)}.{r.randint(1, 9)}"])
    return f"{number}{r.choice(['', ' '])}{unit}"


def _temperature(r: random.Random) -> str:
    return f"{r.randint(2, 110)}{r.choice(['', ' '])}°{r.choice('CF')}"


def _time(r: random.Random) -> str:
    hour, minute = r.randint(1, 12), r.randint(0, 59)
    return r.choice(
        [f"{r.randint(1, 23)}:{minute:02d}", f"{hour}:{minute:02d} pm", f"{hour}:{minute:02d}am", f"{hour} pm"]
    )


def _seconds(r: random.Random) -> str:
    return f"{r.randint(2, 23)}:{r.randint(2, 59):02d}:{r.randint(2, 59):02d}"


def _date(r: random.Random) -> str:
    year, month, day = r.randint(1900, 2050), r.choice([1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12]), r.randint(13, 28)
    name = MONTH_NAMES[month - 1]
    return r.choice([
        f"{name} {day}, {year}", f"{day} {name} {year}", f"{year}-{month:02d}-{day}", f"{month}/{day}/{year}",
        f"{day}/{month}/{year}", f"{name} {day}", f"{day} {name}", f"{name[:3]}. {day}, {year}",
        f"{day}.{month:02d}.{year}",
    ])  # fmt: skip


def _year(r: random.Random) -> str:
    return f"{r.choice(_MONTHS)} {r.randint(1100, 2050)}"


def _decade(r: random.Random) -> str:
    before = r.choice(["the", "in the", "late", "early", "since the", "mid", "of the", "by the", "that"])
    return f"{before} '{r.randint(2, 9)}0s"


def _telephone(r: random.Random) -> str:
    a, b, c = r.randint(201, 799), r.randint(201, 999), r.randint(0, 9999)
    return r.choice([f"{a}-{b}-{c:04d}", f"({a}) {b}-{c:04d}", f"+1 {a}-{b}-{c:04d}", f"1-800-{b}-{c:04d}"])


def _email(r: random.Random) -> str:
    names, hosts = ["john", "mary", "anna", "info", "support", "sales"], ["example", "mail", "company", "google"]
    name = r.choice(
        [
            r.choice(names),
            f"{r.choice(names)}{r.choice('._-')}{r.choice(names)}",
            f"{r.choice(names)}{r.randint(0, 99)}",
        ]
    )
    return f"{name}@{r.choice(hosts)}.{r.choice(['com', 'org', 'net'])}"


def _web(r: random.Random) -> str:
    hosts, parts = ["example", "google", "company", "weather"], ["news", "page", "help", "about"]
    host = f"{r.choice(['', '', 'https://'])}{r.choice(hosts)}.{r.choice(['com', 'org', 'net'])}"
    return host if r.random() < 0.5 else f"{host}/{r.choice(parts)}"


def _ip(r: random.Random) -> str:
    return ".".join(str(r.randint(1, 255)) for _ in range(4))


def _range(r: random.Random) -> str:
    low = r.randint(1, 90)
    year = r.randint(1900, 2000)
    return r.choice([f"{low}-{low + r.randint(1, 50)}", f"{year}-{year + r.randint(1, 25)}"])


def _ratio(r: random.Random) -> str:
    return f"{r.randint(1, 20)}:{r.randint(1, 9)}"


def _negative(r: random.Random) -> str:
    return r.choice([f"-{r.randint(1, 900)}", f"-{r.randint(0, 99)}.{r.randint(1, 99)}"])


def _title(r: random.Random) -> str:
    return f"{r.choice(['Dr.', 'Mr.', 'Mrs.'])} {r.choice(_NAMES)}"


def _sentence(r: random.Random) -> str:
    return (
        f"She paid {_money(r)} for {r.randint(2, 99)} books on {r.choice(_MONTHS)} {r.randint(1, 31)}, "
        f"{r.randint(1900, 2030)}, {_percent(r)} of it at {r.randint(1, 12)}:{r.randint(10, 59)} pm."
    )


CLASSES: dict[str, Callable[[random.Random], str]] = {
    "cardinal": _cardinal, "thousands": _thousands, "ordinal": _ordinal, "decimal": _decimal, "negative": _negative,
    "fraction": _fraction, "money": _money, "money with a magnitude": _money_magnitude, "percent": _percent,
    "unit": _unit, "temperature": _temperature, "time": _time, "time with seconds": _seconds, "date": _date,
    "year": _year, "decade": _decade, "telephone": _telephone, "e-mail": _email, "web address": _web,
    "IP address": _ip, "range": _range, "ratio": _ratio, "title": _title,
    "sentence": _sentence,
}  # fmt: skip


def generated(name: str, count: int = _PER_CLASS) -> Iterator[str]:
    """Different inputs of a class, the same at every call."""
    r, seen = random.Random(name), set[str]()
    for _ in range(count * 20):
        written = CLASSES[name](r)
        if written not in seen:
            seen.add(written)
            yield written
        if len(seen) == count:
            return
