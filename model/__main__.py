"""Answer one question without a server: a WAV file or typed text in, a WAV file and one JSON object out.

    python -m model question.wav --out answer.wav
    python -m model --text "Why is the sky blue?" --out answer.wav
    python -m model question.wav --task A1T2                     # answer in text only
    python -m model --say "Dinner is ready." --out dinner.wav    # no question: just this is said

The JSON object on standard output has: model, task, heard (null where the model keeps no transcript), text, reason
(stop, length or no_speech), question_seconds (null for text), seconds (of spoken answer), first_text_seconds and
first_audio_seconds (since the question was given; null where there is none), answering_seconds (all of it),
real_time_factor (answering_seconds by seconds), text_tokens, frames, sample_rate and out (null when not written).
Anything else goes to standard error. Exit code 2: the question or a flag cannot be used, and why.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from omni_command import called_as, find_time_zone, version

if TYPE_CHECKING:
    from model.omni import MiniOmni
    from model.request import Done, Request

USAGE_EXIT = 2


@dataclass(frozen=True)
class Report:
    """What is printed; see the module's text."""

    model: str
    task: str
    heard: str | None
    text: str
    reason: str
    question_seconds: float | None
    seconds: float
    first_text_seconds: float | None
    first_audio_seconds: float | None
    answering_seconds: float
    real_time_factor: float | None
    text_tokens: int
    frames: int
    sample_rate: int
    out: str | None


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        called_as("model"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--version", action="version", version=f"mini-omni {version()}")
    what = made.add_argument_group("What to ask: one of these")
    what.add_argument("question", nargs="?", type=Path, help="a WAV file of any rate and channel count, 30 s at most")
    what.add_argument("--text", help="a typed question instead of a spoken one")
    what.add_argument("--say", help="a text that is said word for word, instead of an answer to a question")
    answered = made.add_argument_group("The answer")
    answered.add_argument(
        "--speed",
        type=float,
        default=1.0,
        metavar="N",
        help="how fast it speaks: 0.5 takes twice the time; 0.5 to 1.25 (default: 1)",
    )
    answered.add_argument(
        "--out", type=Path, metavar="ANSWER.WAV", help="where its sound is written, 24 kHz mono (default: nowhere)"
    )
    answered.add_argument(
        "--task",
        choices=["A1A2", "A1T2", "A1T1", "T1A2", "T1T2"],
        help="A: audio, T: text; 1: the question, 2: the answer; A1T1 transcribes (default: a spoken answer)",
    )
    answered.add_argument("--seed", type=int, metavar="N", help="makes a temperature repeatable (default: drawn anew)")
    answered.add_argument(
        "--temperature", type=float, default=0.0, metavar="N", help="of its text; 0 is the likeliest (default: 0)"
    )
    answered.add_argument(
        "--repetition-penalty", type=float, metavar="N",
        help="1 to 2; above 1, words that were said are less likely (default: the model's own)",
    )  # fmt: skip
    answered.add_argument(
        "--system-prompt", metavar="TEXT", help="instructions in addition to the model's own prompt (default: none)"
    )
    answered.add_argument(
        "--time-zone", type=find_time_zone, metavar="ZONE",
        help="IANA name, for questions about date and time (default: this machine's)",
    )  # fmt: skip
    limits = "at most (default: the model's own, which the server has, too)"
    answered.add_argument("--max-tokens", type=int, metavar="TOKENS", help=f"of its text {limits}")
    answered.add_argument("--max-sentences", type=int, metavar="N", help=f"of its text {limits}")
    answered.add_argument("--max-seconds", type=float, metavar="SECONDS", help=f"of speech {limits}")
    opened = made.add_argument_group("The model")
    opened.add_argument(
        "--model",
        help="auto, omni-1.5b, smol-omni, a folder, a hub id, or a GGUF file (default: $OMNI_MODEL, else auto)",
    )
    opened.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    opened.add_argument(
        "--dtype",
        choices=["auto", "float32", "bfloat16", "float16", "int8"],
        default="auto",
        help="the weights' number format; auto: what is quick on this machine (default: auto)",
    )
    opened.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: one for each core)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; → 0, or 2 with a sentence on standard error."""
    given = parser().parse_args(arguments)
    from model.request import OmniError  # after the flags: `--help` need not wait for torch

    try:
        report = answer(given)
    except (OmniError, ValueError) as error:
        print(f"{called_as('model')}: {error}", file=sys.stderr)
        return USAGE_EXIT
    print(json.dumps(asdict(report), ensure_ascii=False))
    return 0


def answer(given: argparse.Namespace) -> Report:
    """Open the model, ask, write the sound. `OmniError` or `ValueError` say what cannot be used."""
    import torch

    from model.audio import WINDOW_SECONDS, AudioError, read_wav, write_wav
    from model.checkpoint_names import choose
    from model.mouth import SAMPLE_RATE
    from model.omni import MiniOmni
    from model.request import Request
    from model.sampling import SamplingParams
    from model.vocabulary import Task

    check(given)
    sound = read_wav(given.question) if given.question else None
    if sound and sound.seconds > WINDOW_SECONDS:
        raise AudioError(
            f"{given.question} lasts {sound.seconds:.1f} s, at most {WINDOW_SECONDS} s can be heard; cut it"
        )
    task = Task(given.task) if given.task else (Task.A1A2 if sound else Task.T1A2)
    request = Request(
        audio=sound.samples if sound else None,
        text=given.text,
        say=given.say,
        speed=given.speed,
        task=task,
        sampling=SamplingParams(
            temperature=given.temperature, seed=given.seed, repetition_penalty=given.repetition_penalty
        ),
        system_prompt=given.system_prompt,
        asked_at=datetime.now(given.time_zone).astimezone(given.time_zone),
        **_limits(given),
    )
    if given.threads:
        torch.set_num_threads(given.threads)
    device = given.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    name = choose(given.model, dtype=given.dtype)
    print(f"opening {name} …", file=sys.stderr)
    omni = MiniOmni.from_pretrained(name, device, given.dtype)
    print("answering …", file=sys.stderr)
    spoken = ask(omni, request)
    seconds = len(spoken.samples) / SAMPLE_RATE
    written = given.out is not None and seconds > 0
    if written:
        write_wav(given.out, spoken.samples, SAMPLE_RATE)
    return Report(
        model=name,
        task=task.value,
        heard=spoken.heard,
        text=spoken.done.text,
        reason=spoken.done.reason,
        question_seconds=_rounded(sound.seconds if sound else None),
        seconds=round(seconds, 3),
        first_text_seconds=_rounded(spoken.first_text_seconds),
        first_audio_seconds=_rounded(spoken.first_audio_seconds),
        answering_seconds=round(spoken.answering_seconds, 3),
        real_time_factor=_rounded(spoken.answering_seconds / seconds if seconds else None),
        text_tokens=spoken.done.text_tokens,
        frames=spoken.done.frames,
        sample_rate=SAMPLE_RATE,
        out=str(given.out) if written else None,
    )


def _limits(given: argparse.Namespace) -> dict[str, Any]:
    """The fields of `Request` that are given; the others have its defaults."""
    names = ("max_tokens", "max_sentences", "max_seconds")
    return {name: value for name in names if (value := getattr(given, name)) is not None}


@dataclass(frozen=True)
class Spoken:
    """A whole answer and when its parts came, in seconds since the question was given."""

    heard: str | None
    samples: np.ndarray
    done: Done
    first_text_seconds: float | None
    first_audio_seconds: float | None
    answering_seconds: float


def ask(omni: MiniOmni, request: Request) -> Spoken:
    """Ask, and take note of every event."""
    from model.request import AudioChunk, Done, Heard, TextDelta

    begun = time.perf_counter()
    heard: str | None = None
    first: dict[type, float] = {}
    chunks: list[np.ndarray] = []
    done: Done | None = None
    for event in omni.generate(request):
        first.setdefault(type(event), time.perf_counter() - begun)
        match event:
            case Heard(text=text):
                heard = text
            case AudioChunk(samples=samples):
                chunks.append(samples)
            case Done():
                done = event
    assert done is not None, "every answer ends with Done"
    samples = np.concatenate(chunks) if chunks else np.zeros(0, np.float32)
    spent = time.perf_counter() - begun
    return Spoken(heard, samples, done, first.get(TextDelta), first.get(AudioChunk), spent)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def check(given: argparse.Namespace) -> None:
    """What can be said before the model is opened; `ValueError` says what to change."""
    if [given.question, given.text, given.say].count(None) != 2:
        raise ValueError('give one question: a WAV file, or --text "…"; or --say "…" what to say')
    if given.say is not None and given.task not in (None, "T1A2"):
        raise ValueError(f"--say is spoken, so there is no task {given.task}; leave --task out")
    if given.text is not None and not given.text.strip():
        raise ValueError("--text is empty; give a question that is not empty")
    if given.task and given.task.startswith("A1") and given.question is None:
        raise ValueError(f"task {given.task} needs a WAV file; for a typed question use T1A2 or T1T2")
    if given.task and given.task.startswith("T1") and given.text is None:
        raise ValueError(f"task {given.task} needs --text; for a WAV file use A1A2, A1T2 or A1T1")
    if given.out and given.task and not given.task.endswith("A2"):
        raise ValueError(f"task {given.task} speaks no answer, so there is nothing for --out; use A1A2 or T1A2")
    if given.out and not given.out.parent.is_dir():
        raise ValueError(f"--out {given.out}: the folder {given.out.parent} does not exist; make it first")
    if any(limit <= 0 for limit in _limits(given).values()):
        raise ValueError("--max-tokens, --max-sentences and --max-seconds must be above 0")
    if given.threads is not None and given.threads < 1:
        raise ValueError(f"--threads {given.threads}: at least 1 is needed")
    if given.device.split(":")[0] not in ("auto", "cpu", "cuda"):
        raise ValueError(f"--device {given.device} is unknown; choose auto, cpu or cuda")


def run() -> None:
    """The command: `main`, then the end of the process."""
    sys.exit(main())


if __name__ == "__main__":
    run()
