"""Questions asked aloud, as Whisper's encoder hears them: shards of texts and encoder states, made without end.

Each shard is an `.npz` of a few hundred utterances: their texts, their states (float16, joined along time, 20 ms each)
and their counts of states, whole multiples of 4. The texts are `training.data.question_texts`, the voices and rooms
`training.data.question_voices`. A run goes on where the last one stopped; several may run side by side as workers.

    python -m training.data.questions training/texts.jsonl work/questions --minutes 60
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.audio import SAMPLE_RATE, SAMPLES_PER_STATE, log_mel, states_of
from model.ears import HearingOptions, StateEncoder, whisper_base
from model.packed import quick_dtype
from training.data.question_texts import Questions
from training.data.question_voices import Samples, Voices, microphone
from training.data.shards import save_arrays

STATES_STEP = 4
"""The adapter reads 80 ms at once at its coarsest."""
LONGEST_STATES = 400
TAIL_STATES = round(HearingOptions().quick_tail_seconds * SAMPLE_RATE / SAMPLES_PER_STATE)
"""Of the silence after a question that is served; in training it is any shorter one, or none."""


@dataclass(frozen=True)
class Utterance:
    """A question and what the encoder makes of its sound."""

    text: str
    states: np.ndarray  # (T, width) float16, T a multiple of STATES_STEP


class Encoder:
    """Whisper base's encoder over what was said and a tail of silence, as it is served."""

    def __init__(self) -> None:
        self.encoder = StateEncoder(whisper_base().encoder, quick_dtype())

    def __call__(self, sound: Samples, tail: int = TAIL_STATES) -> np.ndarray:
        """(samples,) at 16 kHz and the states of silence after it → (T, 512) float16, T a multiple of `STATES_STEP`."""
        states = -(-(states_of(len(sound)) + tail) // STATES_STEP) * STATES_STEP
        encoded: Tensor = self.encoder(log_mel(sound, states))
        return encoded.half().numpy()


def write_utterances(path: Path, utterances: list[Utterance]) -> None:
    save_arrays(
        path,
        texts=np.array([u.text for u in utterances]),
        states=np.concatenate([u.states for u in utterances]),
        lengths=np.array([len(u.states) for u in utterances]),
    )


def read_utterances(path: Path) -> list[Utterance]:
    with np.load(path) as shard:
        states = np.split(shard["states"], np.cumsum(shard["lengths"])[:-1])
        return [Utterance(*pair) for pair in zip(shard["texts"].tolist(), states, strict=True)]


def utterances(texts: Path, seed: int) -> Iterator[Utterance]:
    """Fresh ones without end."""
    encoder = Encoder()
    questions, rng = Questions(texts, random.Random(seed)), np.random.default_rng(seed)
    voices = Voices(rng)
    while True:
        text = questions()
        sound = voices(text)
        if len(sound):
            tail = int(rng.integers(TAIL_STATES + 1)) if rng.random() < 0.5 else 0
            states = encoder(microphone(sound, rng), tail)
            if len(states) <= LONGEST_STATES:
                yield Utterance(text, states)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rows", type=int, default=300, help="utterances a shard")
    parser.add_argument("--worker", type=int, default=0, help="number of this process, where several run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    number = len(list(options.out.glob(f"train-{options.worker}-[0-9]*.npz")))
    started, count, rows = time.time(), 0, []
    for utterance in utterances(options.texts, 1_000_000 * options.worker + number):
        rows.append(utterance)
        if len(rows) == options.rows:
            write_utterances(options.out / f"train-{options.worker}-{number:05d}.npz", rows)
            number, count, rows = number + 1, count + len(rows), []
            seconds = time.time() - started
            print(f"{number} shards, {count / seconds:.1f} utterances/s, {seconds:.0f} s", flush=True)
            if seconds > options.minutes * 60:
                return


if __name__ == "__main__":
    main()
