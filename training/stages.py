"""One stage of the method: a checkpoint in, a checkpoint out, whose trained parts have learned the stage's tasks."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor

from model.checkpoint import (
    PUBLIC_CONFIG,
    PUBLIC_WEIGHTS,
    TOKENIZER,
    find,
    is_published,
    own_network,
    published_network,
    read_config,
    save,
)
from model.checkpoint_files import read_tokenizer
from model.omni import MiniOmni
from model.vocabulary import Task
from training.batches import Batches, Place, ahead
from training.loop import LAYER_NAMES, Average, Curves, Run, save_state
from training.recipe import DataError, Stage
from training.streams import StreamLosses, choose_trained, parameter_groups
from training.tasks import Batch

STREAM_NAMES = ("text", *LAYER_NAMES)


def open_for_training(folder: Path) -> MiniOmni:
    """Language model, adapters and tokenizer of a checkpoint in either layout, float32; ears and mouth stay closed."""
    config = read_config(folder)
    if config.audio_route != "body":
        raise DataError(f"{folder} speaks through a TTS adapter of its own, which `training.tts_adapter` trains")
    read = published_network if is_published(folder) else own_network
    tokenizer = read_tokenizer(folder / TOKENIZER)
    if tokenizer is None:
        raise DataError(f"{folder} has no {TOKENIZER}, and training reads text; put the body's own there")
    return MiniOmni(config, read(folder, config, torch.float32), tokenizer)


def close_stage(omni: MiniOmni, source: Path, target: Path) -> None:
    """Write the trained model, and beside it what it did not train: ears, mouth and whatever else the source has."""
    temporary = target.with_name(f"{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save(omni, temporary)
    for item in source.iterdir():
        if item.name in (PUBLIC_CONFIG, PUBLIC_WEIGHTS) or (temporary / item.name).exists():
            continue
        (shutil.copytree if item.is_dir() else shutil.copy2)(item, temporary / item.name)
    shutil.rmtree(target, ignore_errors=True)
    temporary.replace(target)


class StageRun:
    """The loop of one stage, on one device or several."""

    def __init__(self, stage: Stage, work: Path, accelerator: Accelerator) -> None:
        if stage.minutes is not None and accelerator.num_processes > 1:
            raise DataError(f"{stage.name}: on several devices a stage lasts a number of steps, not of minutes")
        self.stage, self.accelerator = stage, accelerator
        self.source, self.out = find(stage.start), work / stage.name
        self.kept = work / f"{stage.name}.pt"
        self.omni = open_for_training(self.source)
        network = self.omni.network.to(accelerator.device)
        choose_trained(network, set(stage.train))
        network.train()
        self.losses = StreamLosses(network, stage.bfloat16)
        self.trained = [p for p in network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(parameter_groups(network, stage.weight_decay), stage.rate, (0.9, 0.95))
        self.average = Average(network, stage.average)
        tokenizer = self.omni.tokenizer
        assert tokenizer is not None
        self.batches = Batches(
            stage, self.omni.config.vocabulary, tokenizer, accelerator.process_index, accelerator.num_processes
        )
        self.place = Place()
        self.run = self._resume()
        self.model: torch.nn.Module = accelerator.prepare_model(self.losses)

    # -- interruption ---------------------------------------------------------------------------------------------
    def _resume(self) -> Run:
        if not self.kept.exists():
            return Run(self.stage.schedule, self.optimizer)
        state = torch.load(self.kept, map_location=self.accelerator.device, weights_only=True)
        if state["stage"] != self.stage.model_dump_json():
            raise DataError(
                f"{self.kept} was begun by another recipe; put the stage back as it was, or remove the file "
                "to begin anew"
            )
        with torch.no_grad():
            for name, p in self.omni.network.named_parameters():
                if p.requires_grad:
                    p.copy_(state["trained"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.load(state["average"])
        self.place = Place(**state["place"])
        return Run(self.stage.schedule, self.optimizer, int(state["step"]), state["run"])

    def save(self) -> None:
        """Everything that the next step depends on."""
        if not self.accelerator.is_main_process:
            return
        state: dict[str, Any] = {
            "stage": self.stage.model_dump_json(),
            "trained": {n: p.detach() for n, p in self.omni.network.named_parameters() if p.requires_grad},
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state(),
            "place": asdict(self.place),
            "step": self.run.step,
            "run": self.run.state(),
        }
        save_state(self.kept, state)

    # -- learning -------------------------------------------------------------------------------------------------
    def loss(self, sums: Tensor, targets: Tensor) -> Tensor:
        """Sums (8,) over some of a step's targets (2,) → that part of its loss: text, and the layers' mean."""
        text, audio = targets.clamp(min=1)
        return sums[0] / text + self.stage.audio_weight * sums[1:].mean() / audio

    def learn(self, batches: list[Batch]) -> Tensor:
        """One step on all batches of this device → mean losses of the eight streams over all devices (8,).

        NaN where a step had no targets.
        """
        world = self.accelerator.num_processes
        targets = torch.stack([batch.targets for batch in batches]).sum(0)
        targets = self.accelerator.reduce(targets, "sum")
        total = torch.zeros(len(STREAM_NAMES), device=targets.device)
        self.optimizer.zero_grad()
        for index, batch in enumerate(batches):
            last = index == len(batches) - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
                sums = self.model(batch)
                (self.loss(sums, targets) * world).backward()  # devices are averaged
            total += sums.detach()
        torch.nn.utils.clip_grad_norm_(self.trained, self.stage.clip)
        self.optimizer.step()
        self.average.update()
        total = self.accelerator.reduce(total, "sum")
        return torch.cat([total[:1] / targets[0], total[1:] / targets[1]])

    @torch.no_grad()
    def evaluate(self, held_out: dict[Task, list[Batch]]) -> dict[Task, tuple[float, float]]:
        """Held-out losses of the averaged weights, by task: text, and the mean of the audio layers."""
        found = {}
        self.average.swap()
        self.omni.network.eval()
        for task, batches in held_out.items():
            sums, targets = torch.zeros(len(STREAM_NAMES)), torch.zeros(2)
            for batch in batches:
                sums += self.losses(batch.to(self.accelerator.device)).cpu()
                targets += batch.targets
            if batches:
                found[task] = (float(sums[0] / targets[0]), float(sums[1:].mean() / targets[1]))
        self.omni.network.train()
        self.average.swap()
        return found

    def _tell(self, smoothed: Tensor, found: dict[Task, tuple[float, float]]) -> None:
        shown = ", ".join(
            f"{task.value} {text:.3f}" + (f" / {audio:.3f}" if task.speaks else "")
            for task, (text, audio) in found.items()
        )
        text, audio = float(smoothed[0]), float(smoothed[1:].mean())
        self.run.say(f"text / audio {text:.3f} / {audio:.3f}, held out: {shown}; {self.batches.left_out} rows left out")

    def __call__(self) -> None:
        """Train to the end of the schedule, then write the checkpoint."""
        stage, run, main = self.stage, self.run, self.accelerator.is_main_process
        held_out = self.batches.held_out()
        device = self.accelerator.device
        curves = Curves(self.out.with_suffix(".csv"), ("step", "seconds", "rate", *STREAM_NAMES), run.step, main)
        judged = Curves(self.out.with_suffix(".held-out.csv"), ("step", "task", "text", "audio"), run.step, main)
        feed = ahead(self.batches.read(self.place))
        smoothed: Tensor | None = None
        with contextlib.closing(feed):
            for step in run:
                batches = []
                for _ in range(stage.accumulate):
                    self.place, batch = next(feed)
                    batches.append(batch.to(device))
                means = self.learn(batches)
                before = means if smoothed is None else torch.where(smoothed.isnan(), means, smoothed)
                smoothed = torch.where(means.isnan(), before, before.lerp(means, 0.05))
                if step % stage.log_every == 0:
                    curves.add(step, round(run.seconds), run.rate, *means.tolist())
                if step % stage.evaluate_every == 0 or run.over:
                    found = self.evaluate(held_out)
                    for task, losses in found.items():
                        judged.add(step, task.value, *losses)
                    if main:
                        self._tell(smoothed, found)
                if step % stage.save_every == 0:
                    self.save()
        self.average.swap()
        if main:
            close_stage(self.omni, self.source, self.out)
            self.kept.unlink(missing_ok=True)
        self.accelerator.wait_for_everyone()


def run_stage(stage: Stage, work: Path, accelerator: Accelerator | None = None) -> Path:
    """Train a stage, or go on with it where it was interrupted; returns the folder of the checkpoint it wrote."""
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(stage.seed)
    if accelerator is None:
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # a batch need not have every task
        accelerator = Accelerator(kwargs_handlers=[unused])
    StageRun(stage, work, accelerator)()
    return work / stage.name
