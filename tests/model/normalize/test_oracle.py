"""Spoken forms beside those of an independent normaliser, on generated inputs of every class that it knows."""

from __future__ import annotations

import pytest

from model.text import speakable
from tests.model.normalize.inputs import CLASSES, generated
from tests.model.normalize.oracle import ARGUED, Oracle, alike, judged

_LEAST = 0.97
"""The share of a class that must be said as the oracle says it, or be argued in `ARGUED`."""


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle()


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_is_said_as_the_oracle_says_it(oracle: Oracle, name: str) -> None:
    inputs = list(generated(name))
    answers = {written: oracle.said(written) for written in inputs}
    known = {written: said for written, said in answers.items() if judged(said)}
    assert len(known) >= 0.7 * len(inputs), "the oracle reads most of the class"
    others = [(one, speakable(one), said) for one, said in known.items() if not alike(speakable(one), said)]
    assert len(others) <= (1 - _LEAST) * len(known), others


def test_there_are_enough_inputs() -> None:
    assert len(CLASSES) >= 22
    assert sum(len(list(generated(name))) for name in CLASSES) >= 1500


def test_every_argued_difference_has_a_reason() -> None:
    assert all(reason for _, _, reason in ARGUED)
