"""The model's steps one by one, in this process, beside the least time that reading their weights could take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.limits import float32_peak, read_bandwidth
from benchmarks.questions import microphone
from benchmarks.report import Figure, Report, median, percentile
from model import AudioChunk, MiniOmni, Request
from model.checkpoint_names import choose
from model.mouth import SAMPLE_RATE, SAMPLES_PER_FRAME, MouthDecoder
from model.packed import Projection

CONTEXT = 200
"""Positions before a timed body step: a prompt with a turn or two of memory."""
ROWS = (1, 2, 4, 8, 16, 32, 64)
ANSWERS = (
    "How does a rainbow form?",
    "Can you tell me a short story about a dog?",
    "What is the best way to learn a language?",
    "Why do cats purr?",
)
ANSWER_TOKENS = 80
"""Of each of these answers at most."""
PLANNED = (
    "A rainbow forms when sunlight passes through drops of water in the air. Each drop bends the light and splits it "
    "into its colours, and we see them as a bow in the sky."
)


def time_ms(step: Callable[[int], object], steps: int) -> list[float]:
    """Milliseconds of `step(0)` … `step(steps - 1)`, after a few that are not counted."""
    for index in range(min(5, steps)):
        step(index)
    took = []
    for index in range(steps):
        began = time.perf_counter()
        step(index)
        took.append(1000 * (time.perf_counter() - began))
    return took


def _weight_sizes(part: object) -> dict[int, int]:
    """Bytes of every weight matrix that `part` holds, modules and plain objects alike, each once, by identity."""
    found: dict[int, int] = {}
    waiting, seen = [part], set()
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            if item.dim() > 1:
                found[item.data_ptr()] = item.nbytes
        elif isinstance(item, Projection):
            found[id(item)] = item.nbytes
        elif isinstance(item, np.ndarray):
            if item.ndim > 1 and item.dtype == np.uint16:  # float16 weights, packed
                found[item.ctypes.data] = item.nbytes
        elif isinstance(item, list | tuple):
            waiting += item
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, nn.Module) or type(item).__module__.startswith("model."):
            waiting += [value for name, value in vars(item).items() if name not in ("cos", "sin", "config")]
    return found


def weight_bytes(part: object) -> int:
    """Bytes of all weight matrices of `part`."""
    return sum(_weight_sizes(part).values())


def body_bytes(omni: MiniOmni) -> int:
    """What one body step with text logits reads: of a table that is not the head too, only a row, so it is left out."""
    network = omni.network
    if network.bytes_of_a_step:
        return network.bytes_of_a_step
    sizes = _weight_sizes(network)
    table = network.table.weight.data_ptr()
    if network.quick_head or network.head is not None:
        sizes.pop(table, None)
    return sum(sizes.values())


def _body(omni: MiniOmni, rows: int, steps: int) -> list[float]:
    """Steps of `rows` answers at once, text logits and the choice of the likeliest included."""
    network = omni.network
    cache, slots = network.new_cache(rows, CONTEXT + 1), torch.arange(rows)
    prompt = network.embed(torch.arange(100, 100 + CONTEXT))[None]
    network(prompt, torch.arange(CONTEXT)[None], slots[:1], cache)
    for kept in (cache.all_keys, cache.all_values):
        kept[:, 1:rows] = kept[:, :1]
    tokens, positions = network.embed(500 + slots[:, None]), torch.full((rows, 1), CONTEXT)

    def step(_: int) -> Tensor:
        logits = network.text_logits(network(tokens, positions, slots, cache)[:, -1])
        return logits.numpy().argmax(-1)  # PyTorch's own would keep its threads spinning into the next step

    return time_ms(step, steps)


def _prefill(omni: MiniOmni, positions: int, steps: int) -> list[float]:
    network = omni.network
    cache = network.new_cache(1, positions)
    row = torch.zeros(1, dtype=torch.long)
    prompt = network.embed(torch.arange(100, 100 + positions))[None]
    return time_ms(lambda _: network(prompt, torch.arange(positions)[None], row, cache), steps)


def _adapter(omni: MiniOmni, rows: int, steps: int) -> tuple[list[float], Tensor]:
    """Times of steps of `rows` answers at once over a real plan, and the codes (frames, 7) that the first one chose."""
    adapter = omni.adapter
    assert adapter is not None
    planner = adapter.planner()
    planner.feed(PLANNED)
    planner.finish()
    planned, slots = planner.available, torch.arange(rows)
    conditions = [planner.condition(at).expand(rows, -1) for at in range(planned)]
    cache = adapter.new_cache(rows)
    chosen = torch.full((rows, 7), adapter.pad)
    codes = []

    def step(index: int) -> None:
        nonlocal chosen
        at = index % planned
        if at == 0:
            chosen = torch.full((rows, 7), adapter.pad)
        logits = adapter.step(conditions[at], chosen, torch.full((rows,), at), slots, cache)
        chosen = logits.argmax(-1)
        codes.append(chosen[0])

    took = time_ms(step, steps)
    return took, torch.stack(codes)


def _plan_ms(omni: MiniOmni) -> float:
    """Planning the speech of a whole answer (letters → phonemes → durations → frame states), a frame's share."""
    assert omni.adapter is not None
    adapter = omni.adapter

    def plan(_: int) -> None:
        planner = adapter.planner()
        for word in PLANNED.split():
            planner.feed(word + " ")
        planner.finish()
        while planner.frames is None:
            planner.condition(planner.available - 1)

    planner = adapter.planner()
    planner.feed(PLANNED)
    planner.finish()
    while planner.frames is None:
        planner.condition(planner.available - 1)
    return median(time_ms(plan, 3)) / planner.frames


def _codec(omni: MiniOmni, codes: Tensor, steps: int, chunk: int) -> list[float]:
    """Milliseconds a frame, in chunks of `chunk` frames."""
    assert omni.mouth is not None
    stream = omni.mouth.stream()
    return [ms / chunk for ms in time_ms(lambda i: stream.push(codes[i % len(codes)].repeat(chunk, 1)), steps)]


def _whole_answers(omni: MiniOmni) -> Iterator[tuple[float, float, float]]:
    """(seconds to make it, seconds of sound, seconds until its first sound) of each answer, one at a time."""
    for question in ANSWERS:
        began, samples, first = time.perf_counter(), 0, 0.0
        for event in omni.generate(Request(text=question, max_tokens=ANSWER_TOKENS)):
            if isinstance(event, AudioChunk):
                first = first or time.perf_counter() - began
                samples += len(event.samples)
        yield time.perf_counter() - began, samples / SAMPLE_RATE, first


def _hearing(omni: MiniOmni) -> list[float]:
    assert omni.ears is not None
    ears = omni.ears
    spoken = [question.astype(np.float32) / 32768 for question in microphone(6)]
    return time_ms(lambda index: ears.hear(spoken[index]), len(spoken))


def _by_rows(name: str, floor: str, measure: Callable[[int], list[float]]) -> list[Figure]:
    """A step's figures for 1 … 64 answers at once; reading the weights is the `floor` of all of them."""
    figures = []
    for rows in ROWS:
        took = measure(rows)
        note = f"{1000 * rows / median(took):,.0f} a second"
        if rows == 1:
            note = f"{floor}; 95th percentile {percentile(took, 0.95):.2f} ms"
        figures.append(Figure(f"{name}, {rows} row{'s' * (rows > 1)}, median", median(took), "ms", note))
    return figures


@torch.inference_mode()
def run(model: str | None, steps: int) -> Report:
    """Time a model that speaks through the TTS adapter, one row being one person's answer."""
    name = choose(model)
    omni = MiniOmni.from_pretrained(name)
    bandwidth = read_bandwidth()

    def floor(size: int) -> str:
        return f"reading its {size / 1e6:.0f} MB of weights alone: {1000 * size / bandwidth:.1f} ms"

    assert omni.adapter is not None
    assert isinstance(omni.mouth, MouthDecoder)
    answers = list(_whole_answers(omni))
    alone, codes = _adapter(omni, 1, steps)
    figures = [
        *_by_rows("body step", floor(body_bytes(omni)), lambda rows: _body(omni, rows, max(5, steps // rows))),
        Figure("body prefill of 48 positions, median", median(_prefill(omni, 48, 20)), "ms"),
        *_by_rows(
            "TTS-adapter step",
            floor(weight_bytes(omni.adapter.decoder)),
            lambda rows: alone if rows == 1 else _adapter(omni, rows, max(20, steps // rows))[0],
        ),
        Figure("speech plan, a frame", _plan_ms(omni), "ms"),
        Figure(
            "codec frame alone, median",
            median(_codec(omni, codes, steps, 1)),
            "ms",
            floor(weight_bytes(omni.mouth.mouth.decoder)),
        ),
        Figure("codec frame in chunks of 8, median", median(_codec(omni, codes, steps // 8 + 1, 8)), "ms"),
        Figure("hearing a question, median", median(_hearing(omni)), "ms", "most of it before the turn is confirmed"),
        Figure("typed question → first sound, median", 1000 * median([first for _, _, first in answers]), "ms"),
        Figure(
            "real-time factor of a whole answer",
            median([took / length for took, length, _ in answers]),
            "",
            "codec included",
        ),
        Figure("… slowest", max(took / length for took, length, _ in answers), ""),
        Figure("memory reads", bandwidth / 1e9, "GB/s", "measured, all threads"),
        Figure("float32 products", float32_peak() / 1e9, "GFLOP/s", "measured, all threads, PyTorch's own"),
    ]
    dtype, frame_ms = omni.network.weight_format, 1000 * SAMPLES_PER_FRAME / SAMPLE_RATE
    workload = f"{name}, body in {dtype}, {torch.get_num_threads()} threads; a frame is {frame_ms:.1f} ms of sound"
    return Report("engine", workload, figures)
