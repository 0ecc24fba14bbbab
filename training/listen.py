"""Judges the voice: what Whisper base hears in free-running speech against the text that was to be spoken.

    python -m training.listen work/texts.jsonl --adapter work/adapter.average.pt --spelling work/spelling.pt \
        --codec work/mouth.pt --answers 40 --out work/listen
    python -m training.listen work/texts.jsonl --codec work/mouth.pt --recoded      # the mouth alone
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np
import soundfile
import soxr
import torch
import whisper
from hibari import Hibari
from torch import Tensor
from whisper.normalizers import EnglishTextNormalizer

from model.ears import whisper_base
from model.mouth import SAMPLE_RATE, Mouth, MouthDecoder
from model.speech_planner import SpeechPlanner
from model.text import speakable
from model.tts_adapter import TtsAdapter
from model.vocabulary import AUDIO_LAYERS, DELAY, undelay
from training.codec import load_codec
from training.data.speech import HELD_OUT_EVERY


class Judge:
    """Whisper base, greedy, on the full 30 s window: an independent listener."""

    def __init__(self) -> None:
        self.model = whisper_base("wheel")
        self.normalize = EnglishTextNormalizer()

    @torch.inference_mode()
    def hear(self, samples: np.ndarray) -> str:
        """Samples at 24 kHz → what is heard."""
        audio = soxr.resample(samples, SAMPLE_RATE, 16_000).astype(np.float32)
        mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(torch.from_numpy(audio)))
        options = whisper.DecodingOptions(language="en", fp16=False, without_timestamps=True)
        result = whisper.decode(self.model, mel, options)
        assert isinstance(result, whisper.DecodingResult)
        return result.text

    def errors(self, said: str, heard: str) -> tuple[int, int]:
        """(words heard wrong, words said)."""
        reference, hypothesis = self.normalize(said), self.normalize(heard)
        if not reference:
            return len(hypothesis.split()), 0
        score = jiwer.process_words(reference, hypothesis)
        return score.substitutions + score.deletions + score.insertions, len(reference.split())


def choose(logits: Tensor, temperature: float, top_k: int, generator: torch.Generator) -> Tensor:
    """(…, codes) → (…,) codes."""
    if temperature == 0:
        return logits.argmax(-1)
    values, indices = logits.topk(top_k)
    picked = torch.multinomial((values / temperature).softmax(-1).flatten(0, -2), 1, generator=generator)
    return indices.gather(-1, picked.view(*logits.shape[:-1], 1))[..., 0]


@torch.inference_mode()
def speak_all(
    adapter: TtsAdapter, texts: list[str], temperature: float = 0.0, top_k: int = 30, seed: int = 0
) -> tuple[list[Tensor], list[SpeechPlanner]]:
    """Free-running speech of every text, all at once: frames of each (frames, 7), and the plans."""
    planners = []
    for text in texts:
        planner = adapter.planner()
        planner.feed(text)
        planner.finish()
        planner._asked = 1 << 20  # plan everything now
        _ = planner.available
        planners.append(planner)
    generator = torch.Generator().manual_seed(seed)
    cache = adapter.new_cache(len(texts))
    lengths = [planner.frames or 0 for planner in planners]
    tokens = torch.full((len(texts), max(lengths) + DELAY, AUDIO_LAYERS), adapter.pad)
    for step in range(tokens.shape[1]):
        rows = [r for r, length in enumerate(lengths) if step < length + DELAY]
        slots = torch.tensor(rows)
        conditions = torch.stack([planners[r].condition(step) for r in rows])
        previous = tokens[slots, step - 1] if step else torch.full((len(rows), AUDIO_LAYERS), adapter.pad)
        logits = adapter.step(conditions, previous, torch.full((len(rows),), step), slots, cache)
        frame = step - 1 - torch.arange(AUDIO_LAYERS)
        real = (frame >= 0) & (frame < torch.tensor(lengths)[slots][:, None])
        tokens[slots, step] = choose(logits, temperature, top_k, generator).masked_fill(~real, adapter.pad)
    return [undelay(tokens[row, : length + DELAY]) for row, length in enumerate(lengths)], planners


def held_out_answers(path: Path, count: int, skip: int = 0) -> list[str]:
    """Answers that no training text contains."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    texts = [speakable(row["answer"]) for row in rows[::HELD_OUT_EVERY]]
    return [text for text in texts if 15 < len(text) < 300][skip : skip + count]


@dataclass(frozen=True)
class Heard:
    """One answer as it was heard."""

    said: str
    heard: str
    wrong: int
    words: int
    seconds: float


def report(rows: list[Heard]) -> dict[str, float]:
    """Word error rate over all words, median over answers, share of answers that break off or run on."""
    rates = [r.wrong / max(1, r.words) for r in rows]
    lengths = [abs(len(r.heard.split()) - len(r.said.split())) > max(2, 0.15 * r.words) for r in rows]
    return {
        "answers": len(rows),
        "words": sum(r.words for r in rows),
        "word_error_rate": round(sum(r.wrong for r in rows) / sum(r.words for r in rows), 4),
        "median_answer": round(statistics.median(rates), 4),
        "wrong_length": round(sum(lengths) / len(rows), 4),
        "seconds": round(sum(r.seconds for r in rows), 1),
    }


def load_adapter(path: Path, spelling: Path | None) -> TtsAdapter:
    adapter = TtsAdapter()
    adapter.load_state_dict(torch.load(path, weights_only=True)["adapter"])
    if spelling:
        adapter.spelling.load_state_dict(torch.load(spelling, weights_only=True)["spelling"])
    return adapter.eval()


def recode(mouth: Mouth, codec_path: Path, samples: np.ndarray) -> np.ndarray:
    codec, _ = load_codec(codec_path)
    with torch.inference_mode():
        spoken: np.ndarray = mouth.decode(codec.encode(torch.from_numpy(samples)[None]))[0].numpy()
    return spoken[: len(samples)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--spelling", type=Path)
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--answers", type=int, default=40)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--top-k", type=int, default=30)
    parser.add_argument("--recoded", action="store_true", help="judge hibari's own reading, and the mouth's re-coding")
    parser.add_argument("--out", type=Path, help="folder for the recordings")
    options = parser.parse_args()
    torch.set_num_threads(1)
    judge = Judge()
    texts = held_out_answers(options.texts, options.answers, options.skip)
    codec, _ = load_codec(options.codec)
    decoder = MouthDecoder(codec.mouth)
    spoken: dict[str, list[np.ndarray]] = {}
    if options.recoded:
        hibari = Hibari(threads=1)
        spoken["hibari"] = [hibari(text, seed=0) for text in texts]
        spoken["mouth"] = [recode(codec.mouth, options.codec, samples) for samples in spoken["hibari"]]
    if options.adapter:
        started = time.time()
        adapter = load_adapter(options.adapter, options.spelling)
        frames, _ = speak_all(adapter, texts, options.temperature, options.top_k)
        spoken["adapter"] = [decoder.decode(f).numpy() for f in frames]
        print(f"spoken in {time.time() - started:.0f} s", flush=True)
    for name, recordings in spoken.items():
        rows = []
        for number, (text, samples) in enumerate(zip(texts, recordings, strict=True)):
            heard = judge.hear(samples)
            wrong, words = judge.errors(text, heard)
            rows.append(Heard(text, heard, wrong, words, len(samples) / SAMPLE_RATE))
            if options.out:
                options.out.mkdir(parents=True, exist_ok=True)
                soundfile.write(options.out / f"{name}-{number}.wav", samples, SAMPLE_RATE)
            if wrong:
                print(f"{name} {wrong}/{words} | {text} | {heard}", flush=True)
        print(json.dumps({"speech": name, **report(rows)}), flush=True)


if __name__ == "__main__":
    main()
