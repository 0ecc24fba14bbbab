"""SNAC tokens of the speech shards: what the TTS adapter is trained to say.

Every shard of `training.data.speech` gets a shard of tokens beside it, made by the frozen codec. The voice's long
silence before the first word is cut to 50 ms, so that an answer begins at once.

    python -m training.data.codes work/speech work/mouth.pt work/codes --watch
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from model.mouth import books_to_frames
from model.timeline import DURATION_UNIT_SAMPLES
from training.codec import Codec, load_codec
from training.data.shards import Recording, read_shard, save_arrays, shard_paths

FIRST_SILENCE_UNITS = 2


@dataclass(frozen=True)
class Spoken:
    """Phonemes with durations (units of 25 ms) and the tokens of their sound."""

    text: str
    phonemes: np.ndarray  # (n,) uint8
    durations: np.ndarray  # (n,) int16
    frames: np.ndarray  # (frames, 7) int16


def trim(recording: Recording) -> Recording:
    """Cut the silence before the first word."""
    cut = max(0, int(recording.durations[0]) - FIRST_SILENCE_UNITS)
    durations = recording.durations.copy()
    durations[0] -= cut
    return Recording(recording.text, recording.audio[cut * DURATION_UNIT_SAMPLES :], recording.phonemes, durations)


def encode(codec: Codec, recordings: list[Recording], rows: int = 8) -> list[Spoken]:
    """Tokens of every recording, in order; recordings of like length go through together."""
    order = sorted(range(len(recordings)), key=lambda i: len(recordings[i].audio))
    found: dict[int, Spoken] = {}
    for start in range(0, len(order), rows):
        some = order[start : start + rows]
        longest = max(len(recordings[i].audio) for i in some)
        samples = torch.zeros(len(some), longest)
        for row, i in enumerate(some):
            samples[row, : len(recordings[i].audio)] = torch.from_numpy(recordings[i].audio / np.float32(32768))
        frames = books_to_frames(codec.encode(samples)).short().numpy()
        for row, i in enumerate(some):
            r = recordings[i]
            found[i] = Spoken(r.text, r.phonemes, r.durations, frames[row, : -(-len(r.audio) // 2048)])
    return [found[i] for i in range(len(recordings))]


def write_codes(path: Path, spoken: list[Spoken]) -> None:
    save_arrays(
        path,
        texts=np.array([s.text for s in spoken]),
        phonemes=np.concatenate([s.phonemes for s in spoken]),
        durations=np.concatenate([s.durations for s in spoken]),
        phoneme_lengths=np.array([len(s.phonemes) for s in spoken]),
        frames=np.concatenate([s.frames for s in spoken]),
        frame_lengths=np.array([len(s.frames) for s in spoken]),
    )


def read_codes(path: Path) -> list[Spoken]:
    with np.load(path) as shard:
        cuts = np.cumsum(shard["phoneme_lengths"])[:-1]
        phonemes, durations = np.split(shard["phonemes"], cuts), np.split(shard["durations"], cuts)
        frames = np.split(shard["frames"], np.cumsum(shard["frame_lengths"])[:-1])
        texts = shard["texts"].tolist()
    return [Spoken(*row) for row in zip(texts, phonemes, durations, frames, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("codec", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--watch", action="store_true", help="go on as new shards come, until interrupted")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    codec, _ = load_codec(options.codec)
    while True:
        shards = shard_paths(options.speech, held_out=True) + shard_paths(options.speech)
        waiting = [path for path in shards if not (options.out / path.name).exists()]
        for path in waiting:
            started = time.time()
            spoken = encode(codec, [trim(r) for r in read_shard(path)])
            write_codes(options.out / path.name, spoken)
            seconds = sum(len(s.frames) for s in spoken) * 2048 / 24_000
            print(f"{path.name}: {seconds:.0f} s of speech in {time.time() - started:.0f} s", flush=True)
        if not options.watch:
            return
        time.sleep(5)


if __name__ == "__main__":
    main()
