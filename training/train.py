"""Follows a recipe: makes a checkpoint that hears and talks, from data to the last stage.

Steps that are finished are not done again; one that was interrupted goes on where it was. On several devices, stages
run through `accelerate`.

    python -m training.train recipes/smol-omni.toml
    accelerate launch --num_processes 8 -m training.train recipes/mini-omni-qwen2-0.5b.toml
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from model.checkpoint_files import CheckpointError
from training.recipe import DataError, Program, Recipe, RecipeError, Stage, read_recipe

POLL_SECONDS = 5


def finished(recipe: Recipe, step: Program | Stage) -> Path:
    """The file that says that a step is done: it holds the step as it was when it was done."""
    return recipe.work / "finished" / f"{step.name}.json"


def is_finished(recipe: Recipe, step: Program | Stage) -> bool:
    """Done, and as the recipe has it now; changes of the hours it may take do not count."""
    path = finished(recipe, step)
    return path.exists() and path.read_text() == step.model_dump_json(exclude={"hours"})


def follow(recipe: Recipe, only: str | None = None) -> None:
    """Do what is to be done, in order. `subprocess.CalledProcessError` when a program fails."""
    main = os.environ.get("RANK", "0") == "0"
    recipe.work.mkdir(parents=True, exist_ok=True)
    for step in recipe.steps:
        if only not in (None, step.name):
            continue
        if is_finished(recipe, step):
            if main:
                print(f"{step.name}: finished", flush=True)
            continue
        if main:
            print(f"{step.name}: begins" + (f", about {step.hours:g} h" if step.hours else ""), flush=True)
        if isinstance(step, Stage):
            from training.stages import run_stage  # accelerate is a heavy import

            run_stage(step, recipe.work)
        elif main:
            environment = {**os.environ, "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
            subprocess.run([sys.executable, "-m", *shlex.split(step.run)], check=True, env=environment)
        if main:
            finished(recipe, step).parent.mkdir(exist_ok=True)
            finished(recipe, step).write_text(step.model_dump_json(exclude={"hours"}))
        while not is_finished(recipe, step):  # the others wait for what one of them does
            time.sleep(POLL_SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m training.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--work", type=Path, help="working folder, instead of the recipe's own")
    parser.add_argument("--only", help="the name of one step to do")
    options = parser.parse_args()
    try:
        recipe = read_recipe(options.recipe, options.work)
        if options.only and options.only not in {step.name for step in recipe.steps}:
            raise RecipeError(f"{options.recipe} has no step {options.only!r}")
        follow(recipe, options.only)
    except (RecipeError, DataError, CheckpointError) as error:
        parser.exit(2, f"python -m training.train: {error}\n")
    except subprocess.CalledProcessError as error:
        parser.exit(1, f"python -m training.train: {shlex.join(map(str, error.cmd))} ended with {error.returncode}\n")


if __name__ == "__main__":
    main()
