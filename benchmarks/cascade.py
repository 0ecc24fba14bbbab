"""The cascade that one would build from the same parts, beside our server: who answers a spoken question sooner?

faster-whisper (Whisper base, int8) writes down what was said, llama.cpp answers with the very GGUF file that our
language model is made of, behind the same system prompt, which it has read before, and hibari, whose voice ours
learned, speaks sentence by sentence while the next is being written: the first sound comes when the first sentence is
written and spoken. Both are asked the same questions in turns, on all cores, while the other rests. The cascade starts
at the confirmed end of the turn, as cascades do.

    pip install -r requirements-benchmarks.txt
"""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.conversation import Turn, conversation
from benchmarks.gguf_file import gguf_file
from benchmarks.llama import LlamaCpp
from benchmarks.packages import package
from benchmarks.questions import microphone
from benchmarks.report import Figure, Report, cores, median, percentile
from benchmarks.server_process import server
from model.checkpoint import find, read_config
from model.checkpoint_names import OMNI_1_5B, choose
from model.lm.chat import build_messages
from model.lm.defaults import ChatDefaults
from model.request import Request
from model.weights.whisper_base import WHISPER_BASE_PARTS

_SENTENCE = re.compile(r".*?[.!?][\"')]*(?=\s)", re.S)
MAX_TOKENS = 160
REST_S = 1.0
"""Between the two: what one has just finished must not slow the other."""


@dataclass(frozen=True)
class Answered:
    """One question through the cascade. Milliseconds from the confirmed end of the turn."""

    heard_ms: float
    first_sentence_ms: float
    first_audio_ms: float
    done_ms: float
    seconds: float
    """Of sound."""
    heard: str
    text: str


def prompt(defaults: ChatDefaults, question: str) -> list[dict[str, str]]:
    """The messages that the language model reads: as our own has them for the first question of a conversation."""
    return build_messages(defaults, question, Request(text=question))


class Cascade:
    """Speech recognition, language model and voice, each as its own library serves it."""

    def __init__(self, whisper: Path, gguf: Path, defaults: ChatDefaults, threads: int) -> None:
        self._recognizer = package("faster_whisper").WhisperModel(
            str(whisper), device="cpu", compute_type="int8", cpu_threads=threads
        )
        self._language_model = LlamaCpp(gguf, threads)
        self._defaults = defaults
        self._voice = package("hibari").Hibari()

    @property
    def build(self) -> str:
        """The instruction sets that llama.cpp was compiled for."""
        return self._language_model.build

    def ask(self, speech: np.ndarray) -> Answered:
        """(samples,) int16 at 16 kHz, whose turn has just been confirmed."""
        began = time.monotonic()

        def passed() -> float:
            return 1000 * (time.monotonic() - began)

        segments, _ = self._recognizer.transcribe(
            speech.astype(np.float32) / 32768,
            language="en", beam_size=1, without_timestamps=True, condition_on_previous_text=False,
        )  # fmt: skip
        heard = " ".join(segment.text.strip() for segment in segments)
        heard_ms, text, waiting = passed(), "", ""
        first_sentence_ms = first_audio_ms = None
        seconds = 0.0
        for piece in itertools.chain(self._write(heard), [None]):  # spoken while it is still being written
            text, waiting = text + (piece or ""), waiting + (piece or "")
            while waiting.strip() and ((found := _SENTENCE.match(waiting)) or piece is None):
                end = found.end() if found else len(waiting)
                sentence, waiting = waiting[:end].strip(), waiting[end:]
                first_sentence_ms = first_sentence_ms or passed()
                seconds += len(np.asarray(self._voice(sentence, seed=0)).reshape(-1)) / 24_000
                first_audio_ms = first_audio_ms or passed()
        if first_sentence_ms is None or first_audio_ms is None:
            raise RuntimeError(f"the cascade answered nothing to {heard!r}")
        return Answered(heard_ms, first_sentence_ms, first_audio_ms, passed(), seconds, heard, text)

    def _write(self, question: str) -> Iterator[str]:
        penalty = self._defaults.repetition_penalty
        return self._language_model.chat(prompt(self._defaults, question), MAX_TOKENS, penalty)


@contextmanager
def whisper_folder() -> Iterator[Path]:
    """Whisper base as faster-whisper wants it: the wheels' parts joined, in a folder of their own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "model.bin").open("wb") as joined:
            for part in WHISPER_BASE_PARTS:
                with part.locate().open("rb") as stream:
                    shutil.copyfileobj(stream, joined)
        for part in WHISPER_BASE_PARTS:
            for file in part.locate().parent.glob("*.json"):
                shutil.copy(file, folder)
        yield folder


async def _ask_both(url: str, cascade: Cascade, count: int) -> tuple[list[Turn], list[Answered]]:
    ours, theirs = [], []
    for question in microphone(count):
        async with conversation(url) as talk:
            ours.append(await talk.ask(question))
        await asyncio.sleep(REST_S)
        theirs.append(await asyncio.to_thread(cascade.ask, question))
        await asyncio.sleep(REST_S)
    return ours, theirs


def run(model: str | None, gguf: Path | None, questions: int, flags: tuple[str, ...]) -> Report:
    """Ask both `questions` questions. Raises `PackageMissing`, or an `OmniError` where the weights are not there."""
    name = choose(model)
    with whisper_folder() as whisper, gguf_file(name, gguf) as file:
        cascade = Cascade(whisper, file, read_config(find(name)).chat_defaults, cores())
    for question in microphone(2):  # nobody's first question is slower than the others
        cascade.ask(question)
    with server("--model", name, *flags) as running:
        asyncio.run(_ask_both(running.url, cascade, 1))
        ours, theirs = asyncio.run(_ask_both(running.url, cascade, questions))
    from_speech = [turn.confirming_ms + answer.first_audio_ms for turn, answer in zip(ours, theirs, strict=True)]
    sooner = [a.first_audio_ms / max(t.first_audio_ms, 0.1) for t, a in zip(ours, theirs, strict=True)]
    sooner_from_speech = [theirs_ms / turn.silence_ms for turn, theirs_ms in zip(ours, from_speech, strict=True)]
    alike = sum(_letters(turn.heard) == _letters(answer.heard) for turn, answer in zip(ours, theirs, strict=True))
    factors = [turn.done["real_time_factor"] for turn in ours]
    return Report(
        "cascade",
        f"{name}, {questions} spoken questions, ours and faster-whisper int8 → llama.cpp → hibari in turns, "
        f"{cores()} threads",
        [
            Figure("confirmed end of turn → first audio, ours, median", median([t.first_audio_ms for t in ours]), "ms"),
            Figure("… 95th percentile", percentile([t.first_audio_ms for t in ours], 0.95), "ms"),
            Figure("… cascade, median", median([a.first_audio_ms for a in theirs]), "ms"),
            Figure("… … 95th percentile", percentile([a.first_audio_ms for a in theirs], 0.95), "ms"),
            Figure("… … heard after", median([a.heard_ms for a in theirs]), "ms"),
            Figure("… … first sentence written after", median([a.first_sentence_ms for a in theirs]), "ms"),
            Figure("… ours is sooner, median", median(sooner), "times", "smallest of all questions below"),
            Figure("… … smallest", min(sooner), "times"),
            Figure("end of speech → first audio, ours, median", median([t.silence_ms for t in ours]), "ms"),
            Figure("… cascade, median", median(from_speech), "ms", "behind the same silence"),
            Figure(
                "… ours is sooner, median", median(sooner_from_speech), "times", "target: ≥ 2.5" * (name == OMNI_1_5B)
            ),
            Figure("real-time factor, ours, median", median(factors), ""),
            Figure("… cascade, median", median([a.done_ms / 1000 / a.seconds for a in theirs]), ""),
            Figure("length of an answer, ours, median", median([t.seconds for t in ours]), "s"),
            Figure("… cascade, median", median([a.seconds for a in theirs]), "s"),
            Figure("heard alike", alike, "", f"of {questions} questions; llama.cpp was compiled for {cascade.build}"),
        ],
    )


def _letters(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())
