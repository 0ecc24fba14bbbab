"""Word error rate of the embedded model's ears beside plain Whisper base, on the same recordings and weights.

Plain is openai-whisper's own `transcribe` (float32, 30 s window, beam search of 5 at temperature 0, English). Ours is
`model.ears.Ears` as the server runs it. The recordings are the texts of `training.voices` in voices of three
families, clean and with pink noise 10 dB below the speech, and WAV files with their texts beside them (`x.txt`).
With `--adapter`, two more: the trained ear adapter alone, which needs no decoder, and Whisper's decoder reading its
draft; then the voices are those that the adapter never heard, too.

    python -m training.evaluate_ears                      # the table of docs/model-card.md
    python -m training.evaluate_ears --every 8 --json     # quicker, one JSON line
    python -m training.evaluate_ears --tail full --folder recordings
    python -m training.evaluate_ears --adapter checkpoints/smol-omni/ear_adapter.safetensors
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import jiwer
import numpy as np
import torch
import whisper
from whisper.normalizers import EnglishTextNormalizer

from model.audio import SAMPLE_RATE, read_wav
from model.drafted_words import hear_from_drafts
from model.ear_adapter import EarNetwork, SpelledWords, load_ear_adapter
from model.ears import Ears, HearingOptions, whisper_base
from training.voices import FAMILIES, TEXTS, UNHEARD, add_noise, speak, speak_as

NOISE_DB = 10.0
Listener = Callable[[np.ndarray], str]


@dataclass(frozen=True)
class Recording:
    """A text, spoken."""

    group: str
    text: str
    samples: np.ndarray


@dataclass
class Score:
    """What one listener made of one group."""

    said: list[str]
    heard: list[str]
    seconds_heard: float = 0.0
    seconds_spent: float = 0.0

    @property
    def word_error_percent(self) -> float:
        return 100 * float(jiwer.wer(self.said, self.heard))


def recordings(every: int, folder: Path | None) -> Iterator[Recording]:
    """Every n-th text in each family, clean and noisy, then the folder's."""
    for family in FAMILIES:
        for index in range(0, len(TEXTS), every):
            sound = speak(family, TEXTS[index], index)
            yield Recording(f"{family}, clean", TEXTS[index], sound)
            yield Recording(f"{family}, {NOISE_DB:.0f} dB", TEXTS[index], add_noise(sound, NOISE_DB, index))
    for path in sorted(folder.glob("*.wav")) if folder else ():
        yield Recording(folder.name if folder else "", path.with_suffix(".txt").read_text(), read_wav(path).samples)


def unheard_recordings(every: int) -> Iterator[Recording]:
    """Every n-th text in a voice that no ear adapter is trained on, clean and noisy."""
    for index in range(0, len(TEXTS), every):
        sound = speak_as(UNHEARD[index % len(UNHEARD)], TEXTS[index])
        yield Recording("unheard, clean", TEXTS[index], sound)
        yield Recording(f"unheard, {NOISE_DB:.0f} dB", TEXTS[index], add_noise(sound, NOISE_DB, index))


def spelling_ears(ears: Ears, network: EarNetwork) -> Ears:
    """Ears that take what the ear adapter spells as it is; the encoder is shared."""
    alone = Ears(ears.encoder, ears.adapter, ears.options)
    alone.quick = SpelledWords(network, least_log_probability=-math.inf)
    return alone


def adapter_listeners(path: Path, options: HearingOptions) -> dict[str, Listener]:
    """The ear adapter of this file alone, and with Whisper's decoder reading its drafts."""
    network = load_ear_adapter(path)
    drafted = Ears.open(options=options)
    alone = spelling_ears(drafted, network)
    hear_from_drafts(drafted, network)
    return {
        "adapter alone": lambda samples: alone.hear(samples).text,
        "draft and verify": lambda samples: drafted.hear(samples).text,
    }


def plain_whisper() -> Listener:
    """openai-whisper's own transcription."""
    model = whisper_base()

    def listen(samples: np.ndarray) -> str:
        said = whisper.transcribe(model, samples, language="en", beam_size=5, temperature=0.0, fp16=False)
        return str(said["text"])

    return listen


def score(listeners: dict[str, Listener], spoken: Iterator[Recording]) -> dict[str, dict[str, Score]]:
    """Group → listener → score; progress goes to stderr."""
    normalise = EnglishTextNormalizer()
    scores: dict[str, dict[str, Score]] = {}
    for count, recording in enumerate(spoken, 1):
        group = scores.setdefault(recording.group, {name: Score([], []) for name in listeners})
        for name, listen in listeners.items():
            begun = time.perf_counter()
            heard = listen(recording.samples)
            group[name].seconds_spent += time.perf_counter() - begun
            group[name].seconds_heard += len(recording.samples) / SAMPLE_RATE
            group[name].said.append(normalise(recording.text))
            group[name].heard.append(normalise(heard))
        print(f"\r{count} recordings, {recording.group}    ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return scores


def joined(scores: dict[str, dict[str, Score]], name: str) -> Score:
    """One listener over all groups."""
    parts = [group[name] for group in scores.values()]
    return Score(
        [text for part in parts for text in part.said],
        [text for part in parts for text in part.heard],
        sum(part.seconds_heard for part in parts),
        sum(part.seconds_spent for part in parts),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="take every n-th text only")
    parser.add_argument("--folder", type=Path, help="a folder of WAV files, each with its text in a .txt beside it")
    parser.add_argument("--adapter", type=Path, help="a trained ear adapter to measure, too")
    parser.add_argument("--tail", default="", help="seconds of silence after what was said, or 'full' for 30 s in all")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true", help="print one JSON line instead of a table")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    options = HearingOptions()
    if given.tail:
        options = replace(options, tail_seconds=None if given.tail == "full" else float(given.tail))
    ears = Ears.open(options=options)
    listeners = {"Whisper base": plain_whisper(), "ours": lambda samples: ears.hear(samples).text}
    spoken = recordings(given.every, given.folder)
    if given.adapter:
        listeners |= adapter_listeners(given.adapter, options)
        spoken = itertools.chain(unheard_recordings(given.every), spoken)
    scores = score(listeners, spoken)
    rows = {group: {name: part.word_error_percent for name, part in by.items()} for group, by in scores.items()}
    whole = {name: joined(scores, name) for name in listeners}
    rows["all"] = {name: part.word_error_percent for name, part in whole.items()}
    counts = {**{group: len(by["ours"].said) for group, by in scores.items()}, "all": len(whole["ours"].said)}
    spent = {name: part.seconds_spent / counts["all"] for name, part in whole.items()}
    if given.json:
        print(json.dumps({"word_error_percent": rows, "utterances": counts, "seconds_each": spent}))
        return
    print(f"| words wrong, % | utterances | {' | '.join(listeners)} |")
    print(f"|---|---|{'---|' * len(listeners)}")
    for group, by in rows.items():
        print(f"| {group} | {counts[group]} | {' | '.join(f'{by[name]:.1f}' for name in listeners)} |")
    print(f"| seconds for one | | {' | '.join(f'{spent[name]:.2f}' for name in listeners)} |")


if __name__ == "__main__":
    main()
