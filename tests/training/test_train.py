"""Stages learn what held-out rows ask, stop and go on exactly, leave alone what is frozen, and give on a checkpoint."""

from __future__ import annotations

import csv
import importlib.util
import itertools
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model.checkpoint import open_model
from model.sampling import SamplingParams
from model.vocabulary import Task, build_prompt, undelay
from tests.training import tiny
from training.batches import Batches, Place
from training.curves import draw, read_curves
from training.data.rows import write_row_shard
from training.loop import Average, Curves, Run, Schedule
from training.recipe import DataError, Program, RecipeError, Stage, read_recipe
from training.stages import StageRun, run_stage
from training.streams import StreamLosses
from training.tasks import Batch, collate, make_example
from training.train import follow

RECIPES = Path(__file__).parents[2] / "recipes"
ALL = dict.fromkeys(Task, 1.0)


@pytest.fixture(autouse=True)
def data(tmp_path: Path) -> None:
    """Shards of 240 rows to learn, and of 24 others to be judged by."""
    rows = list(tiny.rows(240, seed=1))
    for number in (0, 1):
        write_row_shard(tmp_path / "rows" / f"train-{number}.npz", rows[120 * number :][:120])
    write_row_shard(tmp_path / "rows" / "heldout-0.npz", list(tiny.rows(24, seed=2)))


def stage(folder: Path, **changes: object) -> Stage:
    fields = {
        "name": "learned", "start": str(folder / "start"), "train": ["ears", "streams", "body"], "tasks": ALL,
        "data": [folder / "rows"], "rate": 4e-3, "steps": 6, "warmup": 5, "positions": 600, "buffer_rows": 100,
        "evaluate_every": 1000, "save_every": 1000, "average": 0.9,
    }  # fmt: skip
    return Stage.model_validate({**fields, **changes})


def losses_of(path: Path) -> list[list[str]]:
    """Every line of the curves but its seconds."""
    with path.open() as file:
        return [[cell for n, cell in enumerate(line) if n != 1] for line in csv.reader(file)]


def held_out(path: Path) -> dict[str, list[tuple[float, float]]]:
    """By task, text and audio losses as they came."""
    found: dict[str, list[tuple[float, float]]] = {}
    with path.open() as file:
        for line in csv.DictReader(file):
            found.setdefault(line["task"], []).append((float(line["text"]), float(line["audio"] or 0)))
    return found


@pytest.mark.parametrize("post_adapter", [False, True])
def test_a_tiny_model_learns_to_hear_and_talk(tmp_path: Path, post_adapter: bool) -> None:
    """Both routes, all tasks: held-out losses fall, and the checkpoint answers a held-out row as it should."""
    tiny.write_model(tmp_path / "start", post_adapter)
    parts = ["ears", "streams", "body", *(["tts_adapter"] if post_adapter else [])]
    out = run_stage(stage(tmp_path, train=parts, steps=400, evaluate_every=100, audio_weight=5), tmp_path)
    for task, values in held_out(tmp_path / "learned.held-out.csv").items():
        assert values[-1][0] < 0.3 * values[0][0], task
        assert values[-1][1] < 0.3 * values[0][1] or not Task(task).speaks, task

    omni = open_model(out, torch.device("cpu"), torch.float32)
    row = next(tiny.rows(1, seed=2))
    assert row.states is not None
    assert row.codes is not None
    assert omni.tokenizer is not None
    states, greedy = torch.from_numpy(row.states).float()[None], SamplingParams(top_k=1)
    question, answer = (omni.tokenizer.encode(text).ids for text in (row.question or "", row.answer))
    for task in Task:
        asked = (states, None) if task.hears else (None, torch.tensor(question))
        said = omni.generate_tokens(task, *asked, sampling=greedy)
        wanted = question if task is Task.A1T1 else answer
        assert said.text.tolist()[: len(wanted)] == wanted
        if task.speaks:
            assert undelay(said.audio.T).tolist() == row.codes.tolist()


def test_an_interrupted_stage_goes_on_as_if_it_had_not_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six steps at once, and six with an end after the fourth: the same losses, the same weights, bit for bit."""
    tiny.write_model(tmp_path / "start")
    changes = {"log_every": 1, "save_every": 2, "evaluate_every": 3, "accumulate": 2, "buffer_rows": 50}
    whole = run_stage(stage(tmp_path, **changes), tmp_path / "whole")

    learn, steps = StageRun.learn, []

    def interrupted(self: StageRun, batches: list[Batch]) -> torch.Tensor:
        steps.append(len(batches))
        if len(steps) == 6:  # the fifth is lost: nothing kept it
            raise KeyboardInterrupt
        return learn(self, batches)

    with monkeypatch.context() as patch:
        patch.setattr(StageRun, "learn", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_stage(stage(tmp_path, **changes), tmp_path / "cut")
    assert torch.load(tmp_path / "cut" / "learned.pt", weights_only=True)["step"] == 4
    assert len(losses_of(tmp_path / "cut" / "learned.csv")) == 1 + 5
    cut = run_stage(stage(tmp_path, **changes), tmp_path / "cut")
    assert not (tmp_path / "cut" / "learned.pt").exists()

    for curves in ("learned.csv", "learned.held-out.csv"):
        assert losses_of(tmp_path / "cut" / curves) == losses_of(tmp_path / "whole" / curves)
    one, other = (load_file(folder / "network.safetensors") for folder in (whole, cut))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_stage_that_was_changed_is_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.write_model(tmp_path / "start")
    with monkeypatch.context() as patch:
        patch.setattr("training.stages.close_stage", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_stage(stage(tmp_path, steps=2, save_every=2), tmp_path)
    with pytest.raises(DataError, match="was begun by another recipe"):
        run_stage(stage(tmp_path, steps=2, save_every=2, rate=1e-5), tmp_path)


SHARES = {
    "ears": {"adapter."},
    "streams": {"table.weight", "head.weight"},
    "tts_adapter": {"post_adapter."},
    "body": {"body.", "table.weight", "head.weight"},
}
"""Which weights each part has."""


@pytest.mark.parametrize("part", list(SHARES))
def test_what_is_frozen_stays_bit_for_bit(tmp_path: Path, part: str) -> None:
    tiny.write_model(tmp_path / "start", post_adapter=True)
    out = run_stage(stage(tmp_path, train=[part], steps=3, weight_decay=0.5), tmp_path)
    before, after = (load_file(folder / "network.safetensors") for folder in (tmp_path / "start", out))
    known = tiny.VOCABULARY.text
    for key in before:
        same = torch.equal(before[key], after[key])
        assert same != any(key.startswith(name) for name in SHARES[part]), key
        if key in ("table.weight", "head.weight") and not same:
            words = torch.equal(before[key][:known], after[key][:known])
            added = torch.equal(before[key][known:], after[key][known:])
            assert (words, added) == (part == "streams", part == "body")
    assert (out / "tokenizer.json").read_bytes() == (tmp_path / "start" / "tokenizer.json").read_bytes()


def test_losses_of_a_batch_are_those_of_its_rows_and_of_the_engine() -> None:
    """Padded in company or alone, at once or step by step through the engine's cache: the same."""
    omni = tiny.model(post_adapter=True)
    losses = StreamLosses(omni.network, bfloat16=False)
    rows = list(tiny.rows(4, seed=5))
    examples = [make_example(tiny.VOCABULARY, tiny.tokenizer(), row, task) for row in rows for task in Task]
    with torch.no_grad():
        together = losses(collate(tiny.VOCABULARY, examples))
        alone = torch.stack([losses(collate(tiny.VOCABULARY, [example])) for example in examples]).sum(0)
        torch.testing.assert_close(together, alone, atol=1e-3, rtol=1e-5)

        example = examples[0]
        batch = collate(tiny.VOCABULARY, [example])
        embedded, cache = losses.embed(batch), omni.network.new_cache(1, 64)
        places = torch.arange(len(example))[None]
        hidden = [
            omni.network(embedded[:, n : n + 1], places[:, n : n + 1], torch.tensor([0]), cache)
            for n in range(len(example))
        ]
        torch.testing.assert_close(losses.hidden(embedded), torch.cat(hidden, 1), atol=1e-5, rtol=1e-4)
        prompt = build_prompt(tiny.VOCABULARY, Task.A1A2, len(batch.states))
        expected = omni.network.embed_prompt(prompt, batch.states[None])
        torch.testing.assert_close(embedded[:, : len(prompt.ids)], expected, atol=1e-5, rtol=1e-4)


def test_batches_go_on_from_any_place(tmp_path: Path) -> None:
    batches = Batches(stage(tmp_path), tiny.VOCABULARY, tiny.tokenizer())
    first = list(itertools.islice(batches.read(Place()), 40))
    assert {place.epoch for place, _ in first} >= {0, 1}
    for number in (3, 11, 25):
        _, again = next(batches.read(first[number - 1][0]))
        assert torch.equal(again.ids, first[number][1].ids)
        assert torch.equal(again.states, first[number][1].states)
    assert all(batch.ids.shape[0] * batch.ids.shape[1] <= 600 for _, batch in first)


def test_processes_share_the_batches_of_a_pass(tmp_path: Path) -> None:
    one, *two = (
        Batches(stage(tmp_path, positions=200), tiny.VOCABULARY, tiny.tokenizer(), rank, world).read(Place())
        for rank, world in ((0, 1), (0, 2), (1, 2))
    )
    for _ in range(2):
        alone = [next(one), next(one)]
        shared = [next(reader) for reader in two]
        assert all(torch.equal(a.text, b.text) for (_, a), (_, b) in zip(alone, shared, strict=True))
        assert shared[0][0] == shared[1][0] == alone[1][0]


def test_data_that_cannot_serve_says_why(tmp_path: Path) -> None:
    batches = Batches(stage(tmp_path, longest=3), tiny.VOCABULARY, tiny.tokenizer())
    with pytest.raises(DataError, match="240 left out"):
        next(batches.read(Place()))


def test_the_average_follows_and_swaps() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(0.0)
    average = Average(module, decay=0.9)
    for value in (1.0, 2.0, 3.0):
        module.weight.data.fill_(value)
        average.update()
    expected = 0.0
    for step, value in enumerate((1.0, 2.0, 3.0), start=1):
        decay = min(0.9, (step + 1) / (step + 10))
        expected = decay * expected + (1 - decay) * value
    assert average.values["weight"].item() == pytest.approx(expected)
    average.swap()
    assert module.weight.item() == pytest.approx(expected)
    average.swap()
    assert module.weight.item() == 3.0


def test_the_rate_warms_up_and_falls_to_its_floor() -> None:
    schedule = Schedule(rate=1.0, warmup=4, floor=0.1, steps=100)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    rates = [optimizer.param_groups[0]["lr"] for _ in Run(schedule, optimizer)]
    assert len(rates) == 100
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0], rel=0.01)
    assert rates[50] == pytest.approx(0.55, rel=0.01)
    assert rates[-1] == pytest.approx(0.1, rel=0.01)
    assert all(a >= b for a, b in itertools.pairwise(rates[4:]))


def test_a_run_that_was_interrupted_keeps_its_schedule_and_a_new_one_begins_anew() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    run = Run(Schedule(rate=1.0, steps=10), optimizer, step=100)
    kept = next((run.state() for step in run if step == 104), None)
    assert list(Run(Schedule(rate=1.0, steps=10), optimizer, 104, kept)) == list(range(105, 111))
    assert len(list(Run(Schedule(rate=1.0, steps=12), optimizer, 104, kept))) == 12
    assert len(list(Run(Schedule(rate=1.0, steps=10), optimizer, 110))) == 10
    with pytest.raises(ValueError, match="give one of them"):
        Schedule(rate=1.0)


def test_minutes_do_not_pass_while_a_run_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count()
    clock = {"late": 0.0}
    monkeypatch.setattr("training.loop.time.monotonic", lambda: next(now) * 0.01 + clock["late"])
    run = Run(Schedule(rate=1.0, minutes=10), torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0))
    for step in run:
        if step == 3:
            clock["late"] += 8 * 3600  # the lid was closed
        if step == 5:
            break
    assert 120 < run.seconds < 130


RECIPE = """
work = "{folder}"
[[steps]]
name = "copy"
run = "json.tool {work}/in.json {work}/out.json"
[[steps]]
name = "learned"
start = "{work}/start"
train = ["ears"]
tasks = {{ A1T1 = 1 }}
data = ["{work}/rows"]
rate = 1e-3
steps = 2
"""


def recipe(folder: Path, text: str = RECIPE) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text.replace("{folder}", str(folder)).replace("{{", "{").replace("}}", "}"))
    return path


def test_a_recipe_is_followed_and_what_is_finished_is_not_repeated(tmp_path: Path) -> None:
    tiny.write_model(tmp_path / "start")
    (tmp_path / "in.json").write_text("[1]")
    follow(read_recipe(recipe(tmp_path)))
    assert (tmp_path / "learned" / "config.json").exists()
    assert (tmp_path / "learned.held-out.csv").read_text().count("A1T1") == 1

    before = (tmp_path / "learned" / "network.safetensors").stat().st_mtime_ns
    (tmp_path / "out.json").unlink()
    follow(read_recipe(recipe(tmp_path)))
    assert not (tmp_path / "out.json").exists()
    assert (tmp_path / "learned" / "network.safetensors").stat().st_mtime_ns == before

    follow(read_recipe(recipe(tmp_path, RECIPE.replace("out.json", "other.json"))))  # the step is another one now
    assert (tmp_path / "other.json").exists()


def test_a_program_that_fails_ends_the_recipe(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        follow(read_recipe(recipe(tmp_path)), only="copy")
    assert not list(tmp_path.glob("finished/*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("steps = 2", "steps = 2\nminutes = 3"), "give one of them"),
        (("rate = 1e-3", "rate = 1e-3\nlearning_rate = 1"), "learning_rate"),
        (("A1T1", "A3T1"), "A3T1"),
        (('["ears"]', '["nose"]'), "train"),
        (('"learned"', '"copy"'), "two steps are named copy"),
        (("[[steps]]", "[[steps]"), "line 3"),
    ],
)
def test_a_recipe_that_is_wrong_is_told_so(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = recipe(tmp_path, RECIPE.replace(*change))
    with pytest.raises(RecipeError, match=message) as told:
        read_recipe(path)
    assert str(path) in str(told.value)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_our_recipes_name_programs_and_flags_that_there_are(path: Path, tmp_path: Path) -> None:
    made = read_recipe(path, tmp_path)
    for step in made.steps:
        if isinstance(step, Program):
            assert "{" not in step.run
            module, *arguments = step.run.split()
            source = importlib.util.find_spec(module)
            assert source is not None
            assert source.origin is not None
            for flag in (argument for argument in arguments if argument.startswith("--")):
                assert f'"{flag}"' in Path(source.origin).read_text()


def test_curves_are_drawn(tmp_path: Path) -> None:
    curves = Curves(tmp_path / "a.csv", ("step", "task", "text", "audio"))
    for step in (1, 2, 3):
        curves.add(step, "A1A2", 3.0 / step, 2.0)
        curves.add(step, "T1T2", 1.0, float("nan"))
    Curves(tmp_path / "a.csv", ("step", "task", "text", "audio"), step=2)  # goes on after the second
    assert read_curves(tmp_path / "a.csv") == {
        "A1A2 text": ([1, 2], [3.0, 1.5]), "A1A2 audio": ([1, 2], [2.0, 2.0]), "T1T2 text": ([1, 2], [1.0, 1.0]),
    }  # fmt: skip
    draw([tmp_path / "a.csv"], tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
