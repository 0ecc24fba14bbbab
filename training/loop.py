"""What every training run needs, once: how long it lasts, its learning rate, averages, files that survive a crash.

A `Run` counts steps and time. Its `state` goes into the checkpoint, so that a run that was interrupted takes up its
schedule where it was; a run that has ended leaves nothing behind, and the next one begins a schedule of its own.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from model.packed import quick_dtype

LAYER_NAMES = ("L0", "L1a", "L2a", "L2b", "L1b", "L2c", "L2d")
"""Columns of curves: SNAC's layers in the order of a frame."""
LONGEST_STEP_SECONDS = 120
"""What lies beyond it between two steps is a stop."""
Kept = dict[str, float]
"""What is kept of a run that is under way: steps and seconds since it began, and how long it is to last."""


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then a cosine to `floor` times the rate, over `minutes` or over `steps`."""

    rate: float
    warmup: int = 100
    """Steps."""
    floor: float = 0.02
    minutes: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("a schedule lasts a number of minutes or a number of steps: give one of them")

    def progress(self, step: int, seconds: float) -> float:
        """Share of the run that is over, after `step` steps and `seconds`."""
        if self.steps is not None:
            return step / self.steps if self.steps else 1.0
        return seconds / (self.minutes * 60) if self.minutes else 1.0

    def at(self, step: int, progress: float) -> float:
        """The learning rate of a run's step (the first is 0)."""
        warm = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return self.rate * warm * (self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))

    @property
    def length(self) -> float:
        return float(self.steps if self.steps is not None else self.minutes or 0)


class Run:
    """One training run: iterating gives the number of each step and sets its learning rate.

    `step` counts all steps of the checkpoint, earlier runs included; `kept` is the `state` of a run that was
    interrupted, if it was one of the same length.
    """

    def __init__(
        self, schedule: Schedule, optimizer: torch.optim.Optimizer, step: int = 0, kept: Kept | None = None
    ) -> None:
        self.schedule, self.optimizer, self.step = schedule, optimizer, step
        same = kept is not None and kept["length"] == schedule.length
        self._done = int(kept["steps"]) if kept and same else 0
        self._before = kept["seconds"] if kept and same else 0.0
        self._since = time.monotonic()
        self.rate = 0.0

    @property
    def seconds(self) -> float:
        """Since the run began; while it was interrupted or stopped, or the machine asleep, time is not counted."""
        return self._before + min(time.monotonic() - self._since, LONGEST_STEP_SECONDS)

    def _tick(self) -> None:
        self._before, self._since = self.seconds, time.monotonic()

    @property
    def over(self) -> bool:
        return self.schedule.progress(self._done, self.seconds) >= 1

    def state(self) -> Kept | None:
        """What a checkpoint keeps of a run under way; None when it is over."""
        return None if self.over else {"steps": self._done, "seconds": self.seconds, "length": self.schedule.length}

    def __iter__(self) -> Iterator[int]:
        """→ the number of each step, counted from 1; the learning rate is set before."""
        self._since = time.monotonic()
        by_steps = self.schedule.steps is not None
        total = self.schedule.length if by_steps else self.schedule.length * 60
        form = None if by_steps else "{l_bar}{bar}| {n:.0f}/{total:.0f} s [{postfix}]"
        with tqdm(total=total, disable=None, bar_format=form, leave=False) as bar:
            while (progress := self.schedule.progress(self._done, self.seconds)) < 1:
                self.rate = self.schedule.at(self._done, progress)
                for group in self.optimizer.param_groups:
                    group["lr"] = self.rate * group.get("scale", 1.0)
                self._tick()
                self._done += 1
                self.step += 1
                yield self.step
                bar.set_postfix_str(f"step {self.step}", refresh=False)
                bar.update((self._done if by_steps else self.seconds) - bar.n)

    def say(self, text: str) -> None:
        """One line for the log, above the progress bar where there is one."""
        tqdm.write(f"step {self.step}, {self.seconds:.0f} s, {text}")
        sys.stdout.flush()


class Average:
    """Exponential moving average of a module's trained parameters; its memory grows with the steps at first."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.step = decay, 0
        self._live = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.values = {name: p.detach().clone() for name, p in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        self.step += 1
        weight = 1 - min(self.decay, (self.step + 1) / (self.step + 10))
        for name, p in self._live.items():
            self.values[name].lerp_(p.detach(), weight)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the module's weights with their averages; a second call puts them back."""
        for name, p in self._live.items():
            live = p.detach().clone()
            p.copy_(self.values[name])
            self.values[name].copy_(live)

    def state(self) -> dict[str, Any]:
        return {"step": self.step, "values": self.values}

    def load(self, state: dict[str, Any]) -> None:
        self.step = int(state["step"])
        for name, value in state["values"].items():
            self.values[name].copy_(value)


class Curves:
    """A CSV file that grows by a line at a time, its first column the step.

    A run that goes on after `step` goes on in the file: what an interrupted run wrote beyond it is dropped. With
    `write` false, nothing is kept.
    """

    def __init__(self, path: Path, columns: Sequence[str], step: int = 0, write: bool = True) -> None:
        self._path, self._write = path, write
        if not write:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines()[1:] if step and path.exists() else []
        known = [line for line in lines if int(line.split(",")[0]) <= step]
        path.write_text("".join(f"{line}\n" for line in [",".join(columns), *known]))

    def add(self, *values: float | str) -> None:
        """One line; numbers are rounded to five digits, and NaN is left empty."""
        if self._write:
            line = ",".join(("" if math.isnan(v) else f"{v:.5g}") if isinstance(v, float) else str(v) for v in values)
            with self._path.open("a") as file:
                file.write(f"{line}\n")


def mixed_precision(device: torch.device | str = "cpu", wanted: bool = True) -> torch.autocast:
    """Matrix products in bfloat16 within, where this device is quick at them; in float32 elsewhere."""
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=wanted and quick_dtype(device) == torch.bfloat16)


def save_state(path: Path, state: dict[str, Any]) -> None:
    """`torch.save`, so that the file is whole at any moment: written beside it, then renamed."""
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def descend(loss: Tensor, optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> None:
    """One step down the gradient of `loss`, its norm clipped to 1."""
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
