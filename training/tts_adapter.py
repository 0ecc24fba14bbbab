"""Teaches the TTS adapter to speak: phonemes → durations and SNAC tokens.

Training sees what the planner and the engine do at run time: states laid out by durations, the seven layers each a
step later, tokens of the step before as input, some of them wrong so that an early slip does not spread.

    python -m training.tts_adapter work/codes work/mouth.pt work/adapter.pt --minutes 60
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.mouth import SAMPLES_PER_FRAME
from model.timeline import DURATION_UNIT_SAMPLES, QUARTER_SAMPLES, neighbour_states, quarter_features
from model.tts_adapter import TtsAdapter, window_frames
from model.vocabulary import AUDIO_LAYERS, delay
from training.codec import load_codec
from training.data.codes import Spoken, read_codes
from training.loop import LAYER_NAMES, Average, Curves, Run, Schedule, descend, mixed_precision, save_state


class Batch:
    """Answers side by side, padded; `masks` say what is real."""

    def __init__(self, rows: list[Spoken], pad: int) -> None:
        phonemes = max(len(r.phonemes) for r in rows)
        frames = max(len(r.frames) for r in rows)
        self.phonemes = torch.zeros(len(rows), phonemes, dtype=torch.long)
        self.durations = torch.zeros(len(rows), phonemes, dtype=torch.long)
        self.phoneme_mask = torch.zeros(len(rows), phonemes, 1)
        self.frames = torch.full((len(rows), frames, AUDIO_LAYERS), pad)
        self.frame_mask = torch.zeros(len(rows), frames, 1)
        self.index = torch.zeros(len(rows), 4 * frames, dtype=torch.long)
        for row, r in enumerate(rows):
            n, f = len(r.phonemes), len(r.frames)
            self.phonemes[row, :n] = torch.from_numpy(r.phonemes.astype(np.int64))
            self.durations[row, :n] = torch.from_numpy(r.durations.astype(np.int64))
            self.phoneme_mask[row, :n] = 1
            self.frames[row, :f] = torch.from_numpy(r.frames.astype(np.int64))
            self.frame_mask[row, :f] = 1
            ends = np.cumsum(r.durations) * DURATION_UNIT_SAMPLES
            centres = ((np.arange(4 * f) + 0.5) * QUARTER_SAMPLES).astype(np.int64)
            index = np.searchsorted(ends, centres, side="right").clip(max=n - 1)
            self.index[row, : 4 * f] = torch.from_numpy(index)


def frame_states(adapter: TtsAdapter, batch: Batch) -> tuple[Tensor, Tensor]:
    """→ states of frames (rows, frames, width), duration logits (rows, phonemes, longest + 1)."""
    states, durations = adapter.phoneme_encoder(batch.phonemes, batch.phoneme_mask)
    samples = batch.durations * DURATION_UNIT_SAMPLES
    starts = samples.cumsum(1) - samples
    quarter_mask = batch.frame_mask.repeat_interleave(4, 1)
    centres = (torch.arange(batch.index.shape[1]) + 0.5) * QUARTER_SAMPLES
    features = quarter_features(centres, starts.gather(1, batch.index), samples.gather(1, batch.index))
    frames = adapter.frame_encoder(neighbour_states(states, batch.index), features, quarter_mask)
    return frames * batch.frame_mask, durations


def losses(adapter: TtsAdapter, batch: Batch, noise: float = 0.0) -> Tensor:
    """Mean cross-entropy of the seven layers, then of the durations: (8,)."""
    pad = adapter.pad
    tokens = delay(batch.frames, pad)
    previous = F.pad(tokens[:, :-1], (0, 0, 1, 0), value=pad)
    if noise:
        wrong = (torch.rand(previous.shape) < noise * torch.rand(len(previous), 1, 1) * 2) & (previous < pad)
        previous = torch.where(wrong, torch.randint(0, pad, previous.shape), previous)
        lost = torch.rand(len(previous), previous.shape[1], 1) < 0.05
        previous = previous.masked_fill(lost, pad)
    with mixed_precision():
        frames, durations = frame_states(adapter, batch)
        logits = adapter.decoder(window_frames(frames), previous)
    parts = []
    for layer in range(AUDIO_LAYERS):
        target = tokens[:, :, layer]
        real = target < pad
        parts.append(F.cross_entropy(logits[:, :, layer][real].float(), target[real]))
    said = batch.phoneme_mask[..., 0] > 0
    parts.append(F.cross_entropy(durations[said].float(), batch.durations[said]))
    return torch.stack(parts)


class Rows:
    """Rows of the token shards, new ones as they come, drawn in batches of like length."""

    def __init__(self, folder: Path, frames_per_batch: int) -> None:
        self.folder, self.frames_per_batch = folder, frames_per_batch
        self.seen: set[Path] = set()
        self.rows: list[Spoken] = []
        self.queue: list[list[Spoken]] = []
        self.held_out: list[Spoken] = []

    def refresh(self) -> None:
        for path in sorted(self.folder.glob("*.npz")):
            if path in self.seen or path.name.endswith(".tmp.npz"):
                continue
            self.seen.add(path)
            rows = [r for r in read_codes(path) if 4 <= len(r.frames) <= 300]
            if path.name.startswith("heldout"):
                self.held_out += rows
            else:
                self.rows += rows
                self.queue += self.batches(rows)  # new speech is heard first

    def batches(self, rows: list[Spoken]) -> list[list[Spoken]]:
        rows = sorted(rows, key=lambda r: len(r.frames) + random.random() * 8)
        out: list[list[Spoken]] = []
        start = 0
        while start < len(rows):
            count = max(1, self.frames_per_batch // len(rows[min(len(rows) - 1, start + 8)].frames))
            out.append(rows[start : start + count])
            start += count
        random.shuffle(out)
        return out

    def next(self) -> list[Spoken]:
        while not self.queue:
            self.refresh()
            if not self.queue and self.rows:
                sample = random.sample(self.rows, min(4000, len(self.rows)))
                self.queue = self.batches(sample)
            elif not self.queue:
                time.sleep(2)
        return self.queue.pop()

    @property
    def hours(self) -> float:
        return sum(len(r.frames) for r in self.rows) * SAMPLES_PER_FRAME / 24_000 / 3600


@torch.no_grad()
def held_out_losses(adapter: TtsAdapter, rows: list[Spoken], wrong_text: bool = False) -> Tensor:
    """Losses on held-out rows; with `wrong_text` each row's tokens go with another row's phonemes."""
    if wrong_text:
        others = rows[1:] + rows[:1]
        rows = [
            Spoken(o.text, o.phonemes, o.durations, r.frames[: int(o.durations.sum()) * DURATION_UNIT_SAMPLES // 2048])
            for r, o in zip(rows, others, strict=True)
        ]
    total = torch.zeros(AUDIO_LAYERS + 1)
    rows = sorted(rows, key=lambda r: len(r.frames))
    for start in range(0, len(rows), 8):
        some = rows[start : start + 8]
        total += losses(adapter, Batch(some, adapter.pad)) * len(some)
    return total / len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("codes", type=Path, help="folder of token shards")
    parser.add_argument("codec", type=Path, help="the codec that made them")
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--frames", type=int, default=1200, help="frames a batch")
    parser.add_argument("--rate", type=float, default=1.2e-3)
    parser.add_argument("--noise", type=float, default=0.15, help="share of wrong tokens in the input, on average")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(int(time.time()))
    adapter = TtsAdapter()
    codec, _ = load_codec(options.codec)
    with torch.no_grad():
        for book, quantizer in zip(adapter.decoder.books, codec.mouth.quantizer.quantizers, strict=True):
            book.copy_(quantizer.codebook.weight)
    trained = [p for name, p in adapter.named_parameters() if not name.startswith("spelling.")]
    optimizer = torch.optim.AdamW(trained, options.rate, betas=(0.9, 0.95), weight_decay=0.03)
    state = torch.load(options.out, weights_only=True) if options.out.exists() else {}
    if state:
        adapter.load_state_dict(state["adapter"])
    if state.get("optimizer"):
        optimizer.load_state_dict(state["optimizer"])
    average = Average(adapter, 0.998)
    if state.get("average"):
        average.load(state["average"])
    schedule = Schedule(options.rate, warmup=200, minutes=options.minutes)
    run = Run(schedule, optimizer, int(state.get("step", 0)), state.get("run"))
    rows, frames, smoothed = Rows(options.codes, options.frames), 0, None
    columns = ("step", "seconds", "hours", *LAYER_NAMES, "durations", "wrong_text")
    curves = Curves(options.out.with_suffix(".csv"), columns, run.step)

    def save() -> None:
        average.swap()
        save_state(options.out.with_suffix(".average.pt"), {"adapter": adapter.state_dict(), "step": run.step})
        average.swap()
        state = {"adapter": adapter.state_dict(), "optimizer": optimizer.state_dict(), "average": average.state()}
        save_state(options.out, {**state, "step": run.step, "run": run.state()})

    for step in run:
        batch = Batch(rows.next(), adapter.pad)
        adapter.train()
        parts = losses(adapter, batch, options.noise)
        descend(parts.sum(), optimizer, list(adapter.parameters()))
        average.update()
        frames += int(batch.frame_mask.sum())
        smoothed = parts.detach() if smoothed is None else smoothed.lerp(parts.detach(), 0.03)
        if step % 50 == 0:
            shown = [round(float(v), 2) for v in smoothed]
            run.say(f"{frames} frames, {rows.hours:.1f} h, {shown}")
        if step % 250 == 0:
            rows.refresh()
            save()
            adapter.eval()
            right = held_out_losses(adapter, rows.held_out[:48])
            wrong = float(held_out_losses(adapter, rows.held_out[:48], wrong_text=True)[:AUDIO_LAYERS].mean())
            run.say(f"held-out {[round(float(v), 3) for v in right]}, wrong text {wrong:.2f}")
            curves.add(step, round(run.seconds), rows.hours, *right.tolist(), wrong)
    save()
    run.say("done")


if __name__ == "__main__":
    main()
