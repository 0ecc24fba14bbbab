"""The language model beside llama.cpp: what is timed, counted and compared."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from benchmarks import decoder
from benchmarks.decoder import (
    Measured,
    OurDecoder,
    Times,
    _answer_figures,
    _answer_round,
    _decode_figures,
    _round,
    layer_products,
    ratio,
)
from benchmarks.gguf_file import gguf_file, gguf_parts
from benchmarks.limits import byte_products_peak, float32_peak, read_bandwidth
from benchmarks.process_memory import Memory
from model.checkpoint_files import CheckpointError
from model.weights.smollm2 import SMOLLM2_GGUF


class Llama:
    """Stands for llama.cpp, which the tests do not install: a prefill takes 2 ms a position, a step 50 ms."""

    def time(self, positions: int, steps: int) -> tuple[float, float]:
        return 2.0 * positions, 50.0 if steps else 0.0

    def time_prompt(self, prompt: list[int], steps: int) -> tuple[float, float]:
        return self.time(len(prompt), steps)


@pytest.fixture(scope="module")
def ours() -> OurDecoder:
    return OurDecoder("smol-omni")


def test_a_round_times_every_step_and_prefill_of_both(ours: OurDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "REST_S", 0)
    monkeypatch.setattr(decoder, "PREFILLS", (4, 8))
    monkeypatch.setattr(decoder, "SEQUENCES", (1, 2))
    found, (step_bytes, _) = Measured(), ours.sizes()
    _round(ours, Llama(), 2, found, step_bytes)  # type: ignore[arg-type]
    assert found.llama_decode.rounds == [50.0]
    assert {positions: times.rounds for positions, times in found.llama_prefill.items()} == {4: [8.0], 8: [16.0]}
    assert all(len(times.rounds) == 1 for times in [*found.decode.values(), *found.prefill.values()])
    assert min(found.decode[1].rounds + found.prefill[4].rounds) > 0
    assert found.read_ms.rounds[0] == pytest.approx(1000 * step_bytes / found.bandwidth[0])


def test_answers_are_timed_with_drafts_and_without(ours: OurDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "REST_S", 0)
    monkeypatch.setattr(decoder, "ANSWERS", 1)
    found = Measured()
    _answer_round(ours, Llama(), found)  # type: ignore[arg-type]
    _answer_round(ours, Llama(), found)  # type: ignore[arg-type]
    assert found.answered == 2
    assert found.answers["llama.cpp"].rounds == [50.0, 50.0]
    assert all(0 < time < 1000 for times in found.answers.values() for time in times.rounds)
    found.answers["ours"].rounds = [40.0, 50.0]
    figures = {figure.name: figure for figure in _answer_figures(found, targets=True)}
    assert figures["… ours with drafts is faster"].value == pytest.approx(1.125)
    assert "missed" in figures["… ours with drafts is faster"].note
    assert "target" not in "".join(figure.note for figure in _answer_figures(found, targets=False))


def test_drafts_change_no_answer(ours: OurDecoder) -> None:
    plain, drafted = (ours.answer("What is the capital of France?", drafts) for drafts in (False, True))
    assert plain.tokens == drafted.tokens > 2
    assert plain.prompt == drafted.prompt


def test_sizes_are_those_of_the_body(ours: OurDecoder) -> None:
    step_bytes, products = ours.sizes()
    body = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9}
    assert products == layer_products({**body, "num_key_value_heads": 3}) == 106_168_320
    assert layer_products({**body, "num_key_value_heads": 3, "head_dim": 128}) > products
    assert 0.5 * products < step_bytes < 2 * products  # 4 to 8 bits a weight, and the head
    opened = ours.opened()
    assert opened.after.resident > opened.before.resident


def test_ratios_are_taken_round_by_round_and_beside_their_targets() -> None:
    found = Measured(Times([20.0, 30.0]), [50e9, 33e9])
    found.decode[1], found.llama_decode = Times([22.0, 33.0]), Times([33.0, 33.0])
    for sequences in (2, 4, 8, 16):
        found.decode[sequences] = Times([22.0 * sequences, 33.0 * sequences])
    figures = list(_decode_figures(found, 10**9, targets=True))
    notes = {figure.name: figure.note for figure in figures if figure.name != "… against one"}
    values = {figure.name: figure.value for figure in figures}
    assert values["… against the floor"] == pytest.approx(1.1)
    assert notes["… against the floor"] == "target: ≤ 1.15, met; best 1.10"
    assert values["… ours is faster"] == pytest.approx(1.25)
    assert notes["… ours is faster"] == "target: ≥ 1.2, met; rounds 1.00–1.50"
    against_one = [figure for figure in figures if figure.name == "… against one"]
    assert [round(figure.value) for figure in against_one] == [2, 4, 8, 16]
    assert [figure.note for figure in against_one] == ["", "", "target: ≤ 2.5, missed", "target: ≤ 4, missed"]
    assert "target" not in "".join(figure.note for figure in _decode_figures(found, 10**9, targets=False))
    assert ratio("x", 1.5, note="why").note == "why"


def test_limits_are_positive_and_memory_adds_up() -> None:
    assert read_bandwidth(1) > 1e8
    assert float32_peak() > 1e8
    peak = byte_products_peak()
    assert peak is None or peak > 1e8
    found = Memory.of(psutil.Process())
    assert 0 <= found.shared < found.resident
    assert 0 <= found.proportional <= found.resident


def test_the_file_is_found_and_parts_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gguf_parts("smol-omni") == [SMOLLM2_GGUF.locate()]
    with gguf_file("smol-omni") as file:
        assert file == SMOLLM2_GGUF.locate()
    with gguf_file("smol-omni", tmp_path / "given.gguf") as file:
        assert file == tmp_path / "given.gguf"
    own = tmp_path / "own.gguf"
    own.write_bytes(b"GGUF")
    assert gguf_parts(str(own)) == [own]
    parts = [tmp_path / "a", tmp_path / "b"]
    for part in parts:
        part.write_bytes(part.name.encode() * 3)
    monkeypatch.setattr("benchmarks.gguf_file.gguf_parts", lambda _: parts)
    with gguf_file("omni-1.5b") as file:
        assert file.read_bytes() == b"aaabbb"
    assert not file.exists()


def test_a_model_without_a_gguf_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model_config.yaml").write_text(
        "{n_embd: 16, n_layer: 1, n_head: 2, n_query_groups: 1, intermediate_size: 8, text_vocab_size: 10}"
    )
    with pytest.raises(CheckpointError):
        gguf_parts(str(tmp_path))
