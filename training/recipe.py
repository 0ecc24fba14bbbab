"""Recipes: one TOML file says how a checkpoint is made, step by step.

A step is a program of this room (`run`), or a stage of the method (`train`). `{work}` stands for the recipe's working
folder wherever it occurs.

    [[steps]]
    name = "codes"
    run = "training.data.codes {work}/speech {work}/mouth.pt {work}/codes"

    [[steps]]
    name = "alignment"
    start = "{work}/grafted"                     # the checkpoint it begins from; it ends in {work}/alignment
    train = ["ears", "streams"]                  # everything else is frozen
    tasks = { A1T1 = 1, T1A2 = 1 }               # shares
    data = ["{work}/rows"]
    steps = 15000
    rate = 1e-3
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from model.vocabulary import Task
from training.loop import Schedule
from training.streams import Part


class RecipeError(Exception):
    """A recipe that cannot be followed; the message names the file, the field, and what is wrong with it."""


class DataError(Exception):
    """Data or checkpoint cannot serve a stage; the message says what is missing."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Program(_Strict):
    """A step that a program does. It may be interrupted: run again, it goes on from its own files."""

    name: str
    run: str = Field(min_length=1)
    """A module of this room and its arguments, as after `python -m`."""
    hours: float = 0.0
    """What it took, for who wants to know before."""


class Stage(_Strict):
    """A stage of the method: what is trained, on which tasks, and for how long."""

    name: str
    start: str
    """Folder or hub id of a checkpoint; an earlier stage's is `{work}/NAME`."""
    train: frozenset[Part] = Field(min_length=1)
    tasks: dict[Task, Annotated[float, Field(gt=0)]] = Field(min_length=1)
    """Share of each; a row takes part in those that it has the sound and text for."""
    data: tuple[Path, ...] = Field(min_length=1)
    """Folders of rows, read in turn."""
    rate: float = Field(gt=0)
    steps: int | None = Field(None, gt=0)
    minutes: float | None = Field(None, gt=0)
    warmup: int = Field(100, ge=0)
    """Steps."""
    floor: float = Field(0.0, ge=0, le=1)
    """Share of the rate that is left at the end of the cosine."""
    positions: int = Field(4096, gt=0)
    """Of a batch on one device, pads counted."""
    accumulate: int = Field(1, gt=0)
    """Batches a step on each device."""
    longest: int = Field(1024, gt=0)
    """Positions of an example; longer ones are left out."""
    buffer_rows: int = Field(1024, gt=0)
    """Rows that are shuffled and sorted by length together."""
    audio_weight: float = Field(1.0, ge=0)
    """Of the mean over the seven audio layers, beside the text's 1."""
    clip: float = Field(1.0, gt=0)
    """Norm of the gradient at most."""
    weight_decay: float = Field(0.01, ge=0)
    average: float = Field(0.999, ge=0, lt=1)
    """Decay of the weights' moving average, which is what a stage gives on."""
    bfloat16: bool = True
    """Matrix products in bfloat16 where the device is quick at them; weights and sums stay float32."""
    seed: int = 0
    held_out_rows: int = Field(64, ge=0)
    """Of each folder, for the curves."""
    log_every: int = Field(10, gt=0)
    evaluate_every: int = Field(500, gt=0)
    save_every: int = Field(500, gt=0)
    hours: float = 0.0

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.rate, self.warmup, self.floor, self.minutes, self.steps)

    @model_validator(mode="after")
    def _lasts(self) -> Stage:
        _ = self.schedule
        return self


Step = Annotated[
    Annotated[Program, Tag("program")] | Annotated[Stage, Tag("stage")],
    Discriminator(lambda value: "program" if "run" in value else "stage"),
]


class Recipe(_Strict):
    """The steps of a checkpoint, in order."""

    work: Path
    steps: tuple[Step, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _named_apart(self) -> Recipe:
        names = [step.name for step in self.steps]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two steps are named {', '.join(sorted(twice))}")
        return self


def read_recipe(path: Path, work: Path | None = None) -> Recipe:
    """Read and check a recipe; `work` takes the place of its working folder. `RecipeError` says what is wrong."""
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: {error}") from error
    folder = str(work or fields.get("work", ""))
    try:
        return Recipe.model_validate({**_filled(fields, folder), "work": folder})
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise RecipeError(f"{path}: " + "; ".join(lines)) from error


def _filled(value: Any, work: str) -> Any:
    """`{work}` replaced in every string."""
    if isinstance(value, str):
        return value.replace("{work}", work)
    if isinstance(value, dict):
        return {key: _filled(inner, work) for key, inner in value.items()}
    return [_filled(inner, work) for inner in value] if isinstance(value, list) else value
