"""Speaks texts with hibari's natural voice: shards of sound, phonemes and exact durations.

Texts come from `training.data.texts` (answers and questions that the body wrote) and are varied so that every sound
is heard in every company: words swapped for others of the pronouncing lexicon, numbers, plain lists of words. Every
25th row is held out. The file of texts may still be growing: it is read anew for every shard.

    python -m training.data.speech work/texts.jsonl work/speech --hours 10
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from hibari import Hibari, dsp
from hibari.tts import ASSETS

from model.text import speakable
from model.timeline import DURATION_UNIT_SAMPLES
from training.data.shards import Recording, spoken_seconds, write_shard

_DURATIONS = "/Clip_output_0"
HELD_OUT_EVERY = 25


class Speaker:
    """hibari, with the duration of each phoneme as one more output of its graph."""

    def __init__(self) -> None:
        self.hibari = Hibari(threads=1)
        model = onnx.load(self.hibari.model_path)
        model.graph.output.append(onnx.helper.make_tensor_value_info(_DURATIONS, onnx.TensorProto.FLOAT, None))
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        self.rng = np.random.default_rng(0)

    def __call__(self, text: str) -> Recording | None:
        """The text spoken; None where the durations do not tell the length of the sound to 50 ms."""
        audio, phonemes, durations = [], [], []
        for sentence in self.hibari.phonemize(text):
            ids = self.hibari.ids(sentence)
            if len(ids) < 3:
                continue
            *spectra, lengths = self.session.run(
                None, {"ids": np.asarray([ids], np.int64), "speed": np.ones(1, np.float32)}
            )
            samples = dsp.synth(*(s[0] for s in spectra), self.rng)
            lengths = lengths.reshape(-1)
            if len(lengths) != len(ids) or abs(lengths.sum() * DURATION_UNIT_SAMPLES - len(samples)) > 1200:
                return None
            audio.append((np.clip(samples, -1, 1) * 32767).astype(np.int16))
            phonemes.append(np.asarray(ids, np.uint8))
            durations.append(np.rint(lengths).astype(np.int16))
        if not audio:
            return None
        return Recording(text, np.concatenate(audio), np.concatenate(phonemes), np.concatenate(durations))


class Texts:
    """Rows of the growing text file, varied."""

    def __init__(self, path: Path, rng: random.Random) -> None:
        self.path, self.rng = path, rng
        with gzip.open(Path(ASSETS) / "lexicon_us_gold.json.gz", "rt", encoding="utf-8") as file:
            lexicon = json.load(file)
        self.words = sorted(w for w in lexicon if re.fullmatch(r"[A-Za-z][a-z']{1,12}", w))
        self.trained: list[str] = []
        self.held_out: list[str] = []

    def refresh(self) -> None:
        self.trained, self.held_out, common = [], [], set()
        for number, line in enumerate(self.path.read_text().splitlines()):
            row = json.loads(line)
            for text in (row["answer"], row["question"]):
                said = speakable(text)
                if 5 < len(said) < 400:
                    (self.held_out if number % HELD_OUT_EVERY == 0 else self.trained).append(said)
                    common.update(re.findall(r"[A-Za-z']+", said))
        self.common = sorted(common)

    def word(self) -> str:
        return self.rng.choice(self.common if self.rng.random() < 0.5 else self.words)

    def vary(self) -> str:
        """One text to speak, never a held-out one."""
        base = self.rng.choice(self.trained)
        kind = self.rng.random()
        if kind < 0.4:
            text = base
        elif kind < 0.75:
            share = self.rng.uniform(0.1, 0.6)
            text = " ".join(
                self.word() + re.sub(r"[A-Za-z']", "", word) if self.rng.random() < share else word
                for word in base.split()
            )
        elif kind < 0.8:
            kinds = (self.rng.randrange(100), self.rng.randrange(3000), self.rng.randrange(10**6))
            words = base.split()
            words.insert(self.rng.randrange(len(words)), str(self.rng.choice(kinds)))
            text = " ".join(words)
        else:
            words = [self.word() for _ in range(self.rng.randint(2, 14))]
            text = " ".join(word + (self.rng.choice(",,,.;:?!") if self.rng.random() < 0.1 else "") for word in words)
            text += self.rng.choice("...?!")
        text = speakable(text)
        return (text[:1].upper() + text[1:])[:300]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--hours", type=float, default=10, help="hours of speech in all, earlier shards counted")
    parser.add_argument("--rows", type=int, default=250, help="recordings a shard")
    parser.add_argument("--worker", type=int, default=0, help="number of this process, where several run")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    speaker = Speaker()
    started, seconds = time.time(), spoken_seconds(options.out)
    texts = Texts(options.texts, random.Random())
    texts.refresh()
    number = len(list(options.out.glob(f"train-{options.worker}-*.npz")))
    texts.rng.seed(1000 * options.worker + number)
    if options.worker == 0 and not (options.out / "heldout-0.npz").exists():
        spoken = [r for text in texts.held_out[:120] if (r := speaker(text))]
        write_shard(options.out / "heldout-0.npz", spoken)
    while seconds < options.hours * 3600:
        texts.refresh()
        rows: list[Recording] = []
        while len(rows) < options.rows:
            text = texts.vary()
            if len(text) > 2 and (row := speaker(text)):
                rows.append(row)
        write_shard(options.out / f"train-{options.worker}-{number:04d}.npz", rows)
        number += 1
        seconds += sum(len(r.audio) for r in rows) / 24_000
        print(f"{number} shards, {seconds / 3600:.2f} h of speech, {time.time() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
