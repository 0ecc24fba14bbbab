"""Models that the tests of this room share, opened once."""

from __future__ import annotations

import pytest
import torch

from model.omni import MiniOmni
from tests.model import golden as reference


@pytest.fixture(scope="session")
def public() -> MiniOmni:
    """The published layout in a small shape, seeded weights."""
    golden = reference.load()
    return MiniOmni.from_public(reference.fields(golden), reference.weights(golden))


@pytest.fixture(scope="session")
def embedded() -> MiniOmni:
    """The embedded model, exact: float32 and the body as `transformers` made it."""
    return MiniOmni.from_pretrained(dtype=torch.float32)
