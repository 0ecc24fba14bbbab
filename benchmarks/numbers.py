"""Short utterances of digits, letters, times, prices and years: what speech recognition makes of them, beside Whisper.

Both hear the same sound. Plain is openai-whisper's own `transcribe` with the same weights (base, float32, 30 s window,
beam search of 5 at temperature 0). Ours is `model.ears.Ears` with the ASR adapter, as the server runs it. Numbers are
compared digit by digit, because "8 2 1" and "821" are the same to a listener, and spelled letters without spaces.

    pip install -r requirements-training.txt; apt-get install espeak-ng flite
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from benchmarks.packages import package
from benchmarks.report import Figure, Report, cores
from benchmarks.sounds import espeak
from benchmarks.turn_speech import flite, microphone

VOICES = ("hibari", "espeak-ng", "flite slt", "flite rms")
_NOISE_RMS = 20 / 32768
"""Of the room: -64 dB."""
_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_HOURS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_MINUTES = ("fifteen", "thirty", "forty five", "oh five", "twenty", "ten")
_TEENS = ["eleven", "twelve", "thirteen", "fourteen", "seventeen", "nineteen"]


@dataclass(frozen=True)
class Utterance:
    """A text in one voice."""

    kind: str
    voice: str
    text: str
    sound: np.ndarray
    """(n,) float32 at 16 kHz."""


@dataclass
class Score:
    """What one recogniser made of the utterances."""

    words: int = 0
    wrong: int = 0
    lost: int = 0
    """Heard as nothing."""
    seconds: float = 0.0


def texts(count: int) -> list[tuple[str, str]]:
    """(kind, text) of about so many, always the same."""
    rng = random.Random(7)
    kinds: tuple[tuple[str, Callable[[], str], float], ...] = (
        ("digits", lambda: " ".join(rng.choice(_DIGITS) for _ in range(rng.randint(1, 7))), 0.42),
        ("letters", lambda: " ".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(rng.randint(1, 5))), 0.13),
        ("times", lambda: _time(rng), 0.12),
        ("prices", lambda: _price(rng), 0.12),
        ("years", lambda: _year(rng), 0.11),
        ("cardinals", lambda: _cardinal(rng), 0.10),
    )
    found = [(kind, make()) for kind, make, share in kinds for _ in range(round(count * share))]
    return [(kind, f"{text[0].upper()}{text[1:]}.") for kind, text in found]


def _time(rng: random.Random) -> str:
    hour, minutes = rng.choice(_HOURS), rng.choice(_MINUTES)
    ways = (f"{hour} {minutes}", f"half past {hour}", f"quarter to {hour}", f"{hour} o'clock", f"{hour} {minutes} p.m.")
    return rng.choice(ways)


def _price(rng: random.Random) -> str:
    one, tens = rng.choice(_DIGITS[2:]), rng.choice(_TENS)
    return rng.choice((f"{one} dollars", f"{tens} {one} dollars", f"{one} dollars {tens}", f"{tens} cents"))


def _year(rng: random.Random) -> str:
    one, tens = rng.choice(_DIGITS[1:]), rng.choice(_TENS)
    return rng.choice((f"nineteen {tens} {one}", f"two thousand {one}", "twenty fifteen", f"eighteen {tens}"))


def _cardinal(rng: random.Random) -> str:
    one, tens = rng.choice(_DIGITS[1:]), rng.choice(_TENS)
    return rng.choice((f"{tens} {one}", rng.choice(_TEENS), f"{one} hundred", f"{one} hundred and {tens}"))


def utterances(count: int) -> Iterator[Utterance]:
    """About so many, a quarter of them in each voice."""
    noise = np.random.default_rng(0)
    for kind, text in texts(count // len(VOICES)):
        for voice in VOICES:
            sound = _spoken(text, voice).astype(np.float32) / 32768
            yield Utterance(kind, voice, text, (sound + noise.normal(0, _NOISE_RMS, len(sound))).astype(np.float32))


def _spoken(text: str, voice: str) -> np.ndarray:
    if voice.startswith("flite"):
        return flite(text, voice.removeprefix("flite "))
    if voice == "hibari":
        return microphone(np.asarray(_hibari()(text, seed=0), np.float32).reshape(-1), 24_000)
    return microphone(*espeak(text, "en-us"))


@cache
def _hibari() -> Callable[..., np.ndarray]:
    speak: Callable[..., np.ndarray] = package("hibari").Hibari(threads=1)
    return speak


class Comparer:
    """Counts words that differ, in one form of writing."""

    def __init__(self) -> None:
        package("jiwer")
        from whisper.normalizers import EnglishTextNormalizer

        self._normal = EnglishTextNormalizer()

    def form(self, kind: str, text: str) -> str:
        """As it is compared: digits apart, units left out."""
        if kind == "letters":
            return " ".join(re.sub(r"[^a-z0-9]", "", text.lower()))
        spaced = re.sub(r"[-:$¢,]", " ", re.sub(r"\bp\.?\s?m\b\.?", "pm", text.lower()))
        normal = re.sub(r"[$¢]|\b(?:dollars?|cents?|o clock|oclock)\b", " ", self._normal(spaced))
        return " ".join(re.sub(r"(\d)", r" \1 ", normal).split())

    def count(self, score: Score, kind: str, said: str, heard: str) -> None:
        """Add an utterance to a score."""
        import jiwer

        wanted, found = self.form(kind, said), self.form(kind, heard)
        made = jiwer.process_words(wanted, found)
        score.words += len(wanted.split())
        score.wrong += made.substitutions + made.deletions + made.insertions
        score.lost += not found


def run(count: int) -> Report:
    """Hear all of them with both."""
    import torch

    from model.checkpoint import EMBEDDED, Precision, open_ears, read_config
    from model.ears import whisper_base

    device, comparer = torch.device("cpu"), Comparer()
    ears = open_ears(EMBEDDED, read_config(EMBEDDED), Precision.of("int8", device), device)
    assert ears is not None
    whisper = whisper_base()

    def plain(sound: np.ndarray) -> str:
        made = whisper.transcribe(sound, language="en", temperature=0.0, beam_size=5, fp16=False)
        return str(made["text"]).strip()

    def ours(sound: np.ndarray) -> str:
        return ears.hear(sound).text

    scores: dict[tuple[str, str], Score] = {}
    lost_alone = spoken = 0
    for one in utterances(count):
        spoken += 1
        heard: dict[str, str] = {}
        for name, listen in (("ours", ours), ("plain Whisper base", plain)):
            began = time.perf_counter()
            heard[name] = listen(one.sound)
            for group in (one.kind, one.voice, "all"):
                comparer.count(scores.setdefault((group, name), Score()), one.kind, one.text, heard[name])
            scores["all", name].seconds += time.perf_counter() - began
        lost_alone += not heard["ours"] and bool(heard["plain Whisper base"])
    figures = [*_figures(scores), Figure("lost by ours alone", lost_alone, "", "target: 0")]
    return Report("numbers", f"{spoken} short utterances in {len(VOICES)} voices, {cores()} cores", figures)


def _figures(scores: dict[tuple[str, str], Score]) -> Iterator[Figure]:
    groups = dict.fromkeys(group for group, _ in scores)
    for group in sorted(groups, key=lambda name: name != "all"):
        ours, plain = scores[group, "ours"], scores[group, "plain Whisper base"]
        beside = f"plain Whisper base: {100 * plain.wrong / plain.words:.1f} %; {plain.words} words and digits"
        yield Figure(f"words wrong, {group}", 100 * ours.wrong / ours.words, "%", beside)
    ours, plain = scores["all", "ours"], scores["all", "plain Whisper base"]
    count = max(1, ours.words)
    yield Figure("heard as nothing", ours.lost, "", f"plain Whisper base: {plain.lost}")
    yield Figure(
        "time for a word or digit", 1000 * ours.seconds / count, "ms", f"plain: {1000 * plain.seconds / count:.0f}"
    )
