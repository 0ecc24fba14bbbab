"""Teaches the ear adapter to spell what Whisper's encoder hears: CTC on letters, then on written text.

The utterances of `training.data.questions` may still be growing: new shards are taken in as they come, and those that
were seen least are trained on first. The held-out utterances are the texts of `training.voices` in its unheard voices.

    python -m training.ear_adapter work/questions work/ears.pt --minutes 60
    python -m training.ear_adapter work/questions work/ears.pt --export checkpoints/smol-omni/ear_adapter.safetensors
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from whisper.normalizers import EnglishTextNormalizer

from model.ear_adapter import LETTERS, SIGNS, STATES_A_STEP, EarNetwork, save_ear_adapter
from training.data.questions import Encoder, Utterance, read_utterances, write_utterances
from training.data.shards import shard_paths
from training.loop import Average, Curves, Run, Schedule, descend, mixed_precision, save_state
from training.voices import TEXTS, UNHEARD, add_noise, speak_as

NOISE_DB = 10.0
_ROUND = 40
"""Batches that are laid out at once, alike in length."""
_LETTERS_WEIGHT = 0.4


@dataclass(frozen=True)
class Batch:
    """Utterances side by side, padded."""

    states: Tensor  # (batch, T, 512), as stored
    lengths: Tensor  # (batch,) states
    letters: list[Tensor]
    signs: list[Tensor]


def classes_of(text: str, signs: str) -> Tensor:
    """Each sign's class; what is not among the signs is left out."""
    return torch.tensor([signs.index(sign) + 1 for sign in text if sign in signs])


def letters_of(text: str) -> str:
    return " ".join(re.sub(r"[^a-z' ]+", " ", text.lower()).split())


class Utterances:
    """All that is there to train on; each batch takes what was seen least, alike in length."""

    def __init__(self, folder: Path, states_a_batch: int) -> None:
        self.folder, self.states_a_batch = folder, states_a_batch
        self.rows: list[Utterance] = []
        self.uses = np.zeros(0)
        self._seen: set[Path] = set()
        self._rng = np.random.default_rng()

    def refresh(self) -> None:
        for path in shard_paths(self.folder):
            if path not in self._seen:
                self._seen.add(path)
                self.rows += [row for row in read_utterances(path) if len(row.states) > len(row.text) * 1.1]
        self.uses = np.pad(self.uses, (0, len(self.rows) - len(self.uses)))

    def __iter__(self) -> Iterator[Batch]:
        while True:
            self.refresh()
            order = np.argsort(self.uses + self._rng.random(len(self.rows)) * 1.5)
            mean = np.mean([len(row.states) for row in self.rows[-500:]])
            chosen = order[: int(_ROUND * self.states_a_batch / mean)]
            self.uses[chosen] += 1
            by_length = sorted((self.rows[index] for index in chosen), key=lambda row: len(row.states))
            batches: list[list[Utterance]] = [[]]
            for row in by_length:
                if batches[-1] and len(row.states) * (len(batches[-1]) + 1) > self.states_a_batch:
                    batches.append([])
                batches[-1].append(row)
            for index in self._rng.permutation(len(batches)):
                yield collate(batches[index])


def collate(rows: list[Utterance]) -> Batch:
    lengths = torch.tensor([len(row.states) for row in rows])
    states = torch.zeros(len(rows), int(lengths.max()), rows[0].states.shape[1], dtype=torch.float16)
    for index, row in enumerate(rows):
        states[index, : len(row.states)] = torch.from_numpy(row.states)
    letters = [classes_of(letters_of(row.text), LETTERS) for row in rows]
    return Batch(states, lengths, letters, [classes_of(row.text, SIGNS) for row in rows])


def blur(x: Tensor) -> Tensor:
    """States seen through noise, a few stretches and some features of each row hidden."""
    rows, steps, width = x.shape
    x = x + torch.randn_like(x) * 0.2 * torch.rand(rows, 1, 1)
    for row in range(rows):
        for _ in range(steps // 60 + 1):
            start, length = int(torch.randint(steps, ())), int(torch.randint(12, ()))
            x[row, start : start + length] = 0
    return x * (torch.rand(rows, 1, width) > 0.05)


def ctc(logits: Tensor, lengths: Tensor, targets: list[Tensor]) -> Tensor:
    """Mean loss of a target sign."""
    counts = torch.tensor([len(target) for target in targets])
    likelihoods = logits.float().log_softmax(-1).transpose(0, 1)
    loss = F.ctc_loss(likelihoods, torch.cat(targets), lengths, counts, reduction="sum", zero_infinity=True)
    return loss / counts.sum()


def losses(network: EarNetwork, batch: Batch) -> Tensor:
    """Of letters and of signs, (2,)."""
    mask = torch.arange(batch.states.shape[1] // STATES_A_STEP) * STATES_A_STEP < batch.lengths[:, None]
    x = network.normalise(batch.states)
    with mixed_precision():
        letters, signs = network(blur(x) if network.training else x, mask[..., None].float())
    return torch.stack([ctc(letters, batch.lengths, batch.letters), ctc(signs, batch.lengths, batch.signs)])


def held_out(folder: Path) -> tuple[list[Utterance], list[Utterance]]:
    """The texts and voices of `training.voices` that are never trained on, clean and noisy; made once and kept."""
    paths = folder / "heldout-clean.npz", folder / "heldout-noisy.npz"
    if not all(path.exists() for path in paths):
        encode = Encoder()
        clean, noisy = [], []
        for index, text in enumerate(TEXTS):
            sound = speak_as(UNHEARD[index % len(UNHEARD)], text)
            clean.append(Utterance(text, encode(sound)))
            noisy.append(Utterance(text, encode(add_noise(sound, NOISE_DB, index))))
        write_utterances(paths[0], clean)
        write_utterances(paths[1], noisy)
    return read_utterances(paths[0]), read_utterances(paths[1])


def word_error_percent(network: EarNetwork, utterances: list[Utterance]) -> float:
    normalise = EnglishTextNormalizer()
    heard = [normalise(network.spell(torch.from_numpy(u.states)).text) for u in utterances]
    return 100 * float(jiwer.wer([normalise(u.text) for u in utterances], heard))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("utterances", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--states", type=int, default=2500, help="encoder states a batch")
    parser.add_argument("--export", type=Path, help="write the averaged weights to this file, train nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = EarNetwork()
    state = torch.load(options.out, weights_only=True) if options.out.exists() else {}
    if options.export:
        network.load_state_dict(state["network"])
        average = Average(network, 0.998)
        average.load(state["average"])
        average.swap()
        save_ear_adapter(network, options.export)
        return
    torch.manual_seed(int(time.time()))
    rows = Utterances(options.utterances, options.states)
    rows.refresh()
    if state:
        network.load_state_dict(state["network"])
    else:
        sample = torch.cat([torch.from_numpy(row.states).float() for row in rows.rows[:300]])
        network.mean.copy_(sample.mean(0))
        network.deviation.copy_(sample.std(0))
    optimizer = torch.optim.AdamW(network.parameters(), options.rate, betas=(0.9, 0.98), weight_decay=0.02)
    if "optimizer" in state:
        optimizer.load_state_dict(state["optimizer"])
    average = Average(network, 0.998)
    if "average" in state:
        average.load(state["average"])
    run = Run(Schedule(options.rate, 100, minutes=options.minutes), optimizer, state.get("step", 0), state.get("run"))
    columns = ("step", "seconds", "letters", "signs", "held_out", "clean_wer", "noisy_wer", "utterances")
    curves = Curves(options.out.with_suffix(".csv"), columns, run.step)
    clean, noisy = held_out(options.utterances)
    smoothed, batches = None, iter(rows)

    def save() -> None:
        kept = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "average": average.state()}
        save_state(options.out, {**kept, "step": run.step, "run": run.state()})

    def judge(parts: Tensor) -> None:
        network.eval()
        average.swap()
        with torch.inference_mode():
            loss = float(losses(network, collate(clean))[1])
            errors = [word_error_percent(network, part) for part in (clean, noisy)]
        average.swap()
        network.train()
        run.say(f"held-out {loss:.3f}, words wrong {errors[0]:.1f} % clean, {errors[1]:.1f} % at {NOISE_DB:.0f} dB")
        curves.add(run.step, round(run.seconds), *parts.tolist(), loss, *errors, len(rows.rows))

    for step in run:
        parts = losses(network, next(batches))
        descend(parts[1] + _LETTERS_WEIGHT * parts[0], optimizer, list(network.parameters()))
        average.update()
        smoothed = parts.detach() if smoothed is None else smoothed.lerp(parts.detach(), 0.05)
        if step % 25 == 0:
            uses = rows.uses.mean()
            run.say(f"{len(rows.rows)} utterances, each {uses:.1f} times, letters, signs {smoothed.tolist()}")
        if step % 100 == 0:
            save()
            judge(smoothed)
    if smoothed is not None:
        judge(smoothed)
    save()


if __name__ == "__main__":
    main()
