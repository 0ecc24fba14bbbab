"""Tokens are drawn as asked, and nobody's draw depends on anybody else's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.sampling import PENALIZED_TOKENS, Sampler, SamplingParams, sample


def draw(logits: torch.Tensor, params: SamplingParams, times: int) -> list[int]:
    sampler = Sampler(params)
    return [int(sample(logits[None], [sampler])) for _ in range(times)]


LOGITS = torch.log(torch.tensor([0.05, 0.4, 0.15, 0.3, 0.1]))


@pytest.mark.parametrize("params", [SamplingParams(), SamplingParams(temperature=0.9, top_k=1)])
def test_greedy_takes_the_likeliest(params: SamplingParams) -> None:
    assert draw(LOGITS, params, 5) == [1] * 5


def test_temperature_one_draws_by_probability() -> None:
    drawn = torch.bincount(torch.tensor(draw(LOGITS, SamplingParams(temperature=1.0, seed=3), 4000)), minlength=5)
    torch.testing.assert_close(drawn / 4000, LOGITS.exp(), atol=0.03, rtol=0)


def test_low_temperature_sharpens() -> None:
    drawn = draw(LOGITS, SamplingParams(temperature=0.2, seed=3), 1000)
    expected = float((LOGITS / 0.2).softmax(-1)[1])
    assert drawn.count(1) / 1000 == pytest.approx(expected, abs=0.05)


def test_top_k_leaves_only_the_k_likeliest() -> None:
    assert set(draw(LOGITS, SamplingParams(temperature=2.0, top_k=2, seed=0), 300)) == {1, 3}


@pytest.mark.parametrize(("top_p", "kept"), [(0.3, {1}), (0.6, {1, 3}), (0.8, {1, 2, 3}), (1.0, {0, 1, 2, 3, 4})])
def test_top_p_leaves_the_fewest_that_hold_so_much(top_p: float, kept: set[int]) -> None:
    assert set(draw(LOGITS, SamplingParams(temperature=1.0, top_p=top_p, seed=0), 800)) == kept


@given(st.integers(1, 6), st.integers(0, 5), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_a_row_draws_the_same_in_any_company(rows: int, place: int, seed: int) -> None:
    place %= rows
    logits = torch.randn(rows, 7, 50, generator=torch.Generator().manual_seed(seed))
    params = [SamplingParams(temperature=1.0, top_k=20, top_p=0.9, seed=seed + row) for row in range(rows)]
    params[0] = SamplingParams() if place else params[0]  # a greedy neighbour draws nothing
    together = sample(logits, [Sampler(p) for p in params])
    alone = sample(logits[place : place + 1], [Sampler(params[place])])
    assert together.shape == (rows, 7)
    assert torch.equal(together[place], alone[0])


def test_without_a_seed_answers_differ() -> None:
    flat = torch.zeros(1000)
    params = SamplingParams(temperature=1.0)
    assert draw(flat, params, 4) != draw(flat, params, 4)


@pytest.mark.parametrize(
    "options", [{"temperature": -0.1}, {"temperature": 11.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}]
)
def test_senseless_parameters_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="wanted"):
        SamplingParams(**options)  # type: ignore[arg-type]


def test_what_was_said_is_less_likely() -> None:
    params = SamplingParams(repetition_penalty=1.5)
    sampler = Sampler(params)
    logits = torch.tensor([2.0, 1.5, -1.0, -1.2])
    assert int(sample(logits[None], [sampler])) == 0
    sampler.remember([0])
    assert int(sample(logits[None], [sampler])) == 1
    sampler.remember([1, 2, 0])
    assert sampler.penalized(logits).tolist() == pytest.approx([2 / 1.5, 1.0, -1.5, -1.2])
    assert logits.tolist() == pytest.approx([2.0, 1.5, -1.0, -1.2])
    sampler.remember([3] * PENALIZED_TOKENS)
    assert int(sample(logits[None], [sampler])) == 0


def test_without_a_penalty_nothing_is_remembered() -> None:
    sampler = Sampler(SamplingParams())
    sampler.remember([1, 2])
    assert not sampler.penalizes


@pytest.mark.parametrize("penalty", [0.9, 2.1])
def test_penalties_out_of_range_are_refused(penalty: float) -> None:
    with pytest.raises(ValueError, match="repetition_penalty"):
        SamplingParams(repetition_penalty=penalty)
