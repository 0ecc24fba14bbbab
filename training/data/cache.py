"""Makes data ready for training a checkpoint: questions heard by its ears, answers put in its mouth's codes, once.

SOURCE is a folder of Parquet files as `gpt-omni/VoiceAssistant-400K` has them, a folder of recordings with texts
(`training.data.folder`), a folder of speech shards, or a file of questions and answers, which hibari then speaks.
What was made stays: the same command goes on where it was interrupted. Several processes share the work.

    python -m training.data.cache VoiceAssistant-400K work/rows --checkpoint work/grafted --device cuda
    python -m training.data.cache training/texts.jsonl work/rows --checkpoint work/grafted --worker 0 --workers 2
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from model.audio import SAMPLE_RATE, WINDOW_SECONDS, log_mel, states_of
from model.checkpoint import CheckpointError, Precision, find, open_public_ears, read_config
from model.config import OmniConfig
from model.ears import Ears
from training.coder import Coder, open_coder
from training.data.folder import SOUNDS, Folder
from training.data.rows import Row, write_row_shard
from training.data.shards import shard_paths
from training.data.sources import DataFormatError, Sample, Source
from training.data.speech import HELD_OUT_EVERY
from training.data.synthetic import SpeechShards, Texts
from training.data.voiceassistant import VoiceAssistant

MADE_BY = "made.json"
"""What a folder's rows were made with: rows for two checkpoints must not be mixed."""


def open_source(path: Path, texts: Path) -> Source:
    """The reader for this path, by what is there. `DataFormatError` where that is nothing it knows."""
    if path.is_file() and path.suffix == ".jsonl":
        return Texts(path)
    if path.is_dir():
        if any(path.glob("*.parquet")) or any(path.glob("data/*.parquet")):
            return VoiceAssistant(path)
        if shard_paths(path) or shard_paths(path, held_out=True):
            return SpeechShards(path, texts)
        if any(file.suffix in (*SOUNDS, ".txt") for file in path.iterdir()):
            return Folder(path)
    raise DataFormatError(
        f"{path} is no data that is known here: give a folder with .parquet files, with recordings and texts, or with "
        "speech shards, or a .jsonl of questions and answers"
    )


@dataclass
class Encoder:
    """Sound → what a checkpoint is trained on."""

    config: OmniConfig
    ears: Ears | None
    features: object
    coder: Coder | None

    @classmethod
    def open(cls, folder: Path, device: str = "cpu") -> Encoder:
        """Ears and mouth's encoder of a checkpoint; the language model stays closed."""
        config = read_config(folder)
        place = torch.device(device)
        dtype = torch.bfloat16 if place.type == "cuda" else torch.float32
        if config.audio_route == "body":
            features = open_public_ears(folder, config, Precision(dtype), place)
            return cls(config, None, features, open_coder(folder, config))
        return cls(config, Ears.open(device=place), None, open_coder(folder, config))

    def hear(self, sound: np.ndarray) -> np.ndarray | None:
        """(samples,) at 16 kHz → (T, width) float16, as the checkpoint's adapter will read them; None if too long."""
        if not len(sound) or len(sound) > WINDOW_SECONDS * SAMPLE_RATE:
            return None
        if callable(self.features):
            states = self.features(sound)[0]
        elif self.ears is not None:
            states = self.ears.encoder(log_mel(sound))[: states_of(len(sound))]
        else:
            return None
        heard: np.ndarray = states.float().cpu().numpy().astype(np.float16)
        return heard

    def row(self, sample: Sample) -> Row:
        """A sample, ready."""
        codes = sample.codes
        if codes is None and sample.answer_sound is not None and self.coder is not None:
            codes = self.coder(sample.answer_sound)
        states = None if sample.question_sound is None else self.hear(sample.question_sound)
        return Row(sample.question, states, sample.answer, codes)


def cache(
    source: Source,
    out: Path,
    encoder: Encoder,
    made: dict[str, object],
    rows: int = 256,
    worker: int = 0,
    workers: int = 1,
) -> int:
    """Write the shards that are still missing, those of this worker; returns how many rows it wrote.

    Raises `DataFormatError` when `out` holds rows made with something else, or the source's codes are another mouth's.
    """
    book = encoder.coder.codes if encoder.coder is not None else encoder.config.vocabulary.codes
    if source.codes is not None and source.codes != book:
        raise DataFormatError(
            f"the data brings codes of a mouth with {source.codes} a book, and the checkpoint's has {book}; graft it "
            "with --mouth and a folder of that mouth"
        )
    _sign(out, {**made, "rows": rows})
    written = 0
    blocks = range(worker, -(-len(source) // rows), workers)
    for block in tqdm(blocks, "shards", file=sys.stderr, leave=False):
        name = f"train-{block:05d}.npz"
        if (out / name).exists():
            continue
        kept: dict[bool, list[Row]] = {False: [], True: []}
        for number, sample in enumerate(source.read(block * rows, rows), block * rows):
            held_out = number % HELD_OUT_EVERY == 0 if sample.held_out is None else sample.held_out
            if sample.answer:
                kept[held_out].append(encoder.row(sample))
        if kept[True]:
            write_row_shard(out / f"heldout-{block:05d}.npz", kept[True])
        write_row_shard(out / name, kept[False])  # last: it says that the block is whole
        written += len(kept[True]) + len(kept[False])
    return written


def _sign(out: Path, made: dict[str, object]) -> None:
    path = out / MADE_BY
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    elif (before := json.loads(path.read_text(encoding="utf-8"))) != made:
        other = next(name for name in {**before, **made} if before.get(name) != made.get(name))
        raise DataFormatError(
            f"{out} holds rows made with {other} {before.get(other)!r}, not {made.get(other)!r}; give another folder, "
            "or the same options as before"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path, help="folder of the shards")
    parser.add_argument("--checkpoint", required=True, help="folder of the checkpoint that is to be trained")
    parser.add_argument(
        "--texts", type=Path, default=Path("training/texts.jsonl"), help="of speech shards: their texts"
    )
    parser.add_argument("--device", default="cpu", help="of the ears: cpu or cuda")
    parser.add_argument("--rows", type=int, default=256, help="rows a shard, held-out ones counted")
    parser.add_argument("--worker", type=int, default=0, help="number of this process, where several run")
    parser.add_argument("--workers", type=int, default=1, help="how many processes run")
    options = parser.parse_args()
    try:
        folder = find(options.checkpoint)
        encoder = Encoder.open(folder, options.device)
        made: dict[str, object] = {
            "source": str(options.source),
            "ears": encoder.config.ears,
            "ears_width": encoder.config.ears_width,
            "codes": encoder.coder.codes if encoder.coder else encoder.config.vocabulary.codes,
        }
        source = open_source(options.source, options.texts)
        written = cache(source, options.out, encoder, made, options.rows, options.worker, options.workers)
    except (DataFormatError, CheckpointError) as error:
        parser.exit(2, f"python -m training.data.cache: {error}\n")
    print(f"{written} rows written; {len(source)} in {options.source}")


if __name__ == "__main__":
    main()
