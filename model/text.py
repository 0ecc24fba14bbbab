"""What is written to what is said: the spoken form of an answer's text, word by word.

The voice is trained on letters and a few marks only, so everything else is written out first: numbers, currency,
units of a percentage, common symbols. The same function prepares training text and runs in front of the TTS adapter.
"""

from __future__ import annotations

import re

from num2words import num2words

MARKS = ",.?!;:"
"""Punctuation that the voice phrases by."""

_NUMBER = re.compile(r"([$£€]?)(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(st|nd|rd|th)?(%?)", re.IGNORECASE)
_CURRENCY = {"$": ("dollar", "dollars"), "£": ("pound", "pounds"), "€": ("euro", "euros")}
_SYMBOLS = {"&": " and ", "+": " plus ", "=": " equals ", "@": " at ", "%": " percent ", "°": " degrees ", "/": " "}
_QUOTES = str.maketrans({"’": "'", "‘": "'", "`": "'", "“": '"', "”": '"', "…": ".", "—": ",", "–": ","})
_URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_TIME = re.compile(r"\b(\d{1,2}):(\d{2})\b")


def _say_number(match: re.Match[str]) -> str:
    sign, whole, fraction, ordinal, percent = match.groups()
    digits = whole.replace(",", "")
    if len(digits) > 15:
        said = " ".join(num2words(int(d)) for d in digits)
    elif ordinal:
        said = num2words(int(digits), to="ordinal")
    elif not fraction and not sign and len(digits) == 4 and "," not in whole and 1100 <= int(digits) < 2100:
        said = num2words(int(digits), to="year")
    else:
        said = num2words(int(digits))
    if fraction:
        said += " point " + " ".join(num2words(int(d)) for d in fraction[1:])
    if sign:
        said += " " + _CURRENCY[sign][digits != "1" or bool(fraction)]
    if percent:
        said += " percent"
    return f" {said.replace('-', ' ').replace(',', '')} "


def _say_time(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    if minute == 0:
        return f"{num2words(hour)} o'clock"
    between = " oh " if minute < 10 else " "
    return f"{num2words(hour)}{between}{num2words(minute)}".replace("-", " ")


def speakable(text: str) -> str:
    """Text with only letters, apostrophes, spaces and `MARKS`: what the voice reads."""
    text = _URL.sub(" link ", text.translate(_QUOTES))
    text = _TIME.sub(_say_time, text)
    text = _NUMBER.sub(_say_number, text)
    for symbol, said in _SYMBOLS.items():
        text = text.replace(symbol, said)
    text = re.sub(r"[-_]", " ", text)
    text = re.sub(r"[()\[\]{}]", ",", text)
    text = re.sub(rf"[^A-Za-zÀ-ÖØ-öø-ÿ' {re.escape(MARKS)}]", " ", text)
    text = re.sub(r"(?<!\w)'|'(?!\w)", " ", text)  # quotation marks, not apostrophes
    text = re.sub(r"\s+", " ", text)
    text = re.sub(rf"\s+([{re.escape(MARKS)}])", r"\1", text)
    text = re.sub(rf"([{re.escape(MARKS)}])[{re.escape(MARKS)}]+", r"\1", text)
    text = re.sub(rf"([{re.escape(MARKS)}])(?=\w)", r"\1 ", text)
    return text.strip(f" {MARKS[0]}")
