"""Modules whose weights are about to be loaded: none are drawn first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from torch import Tensor
from torch.nn import init

_LOCK = threading.RLock()


@contextmanager
def weights_unset() -> Iterator[None]:
    """Modules that are built inside have memory of the right shapes and nothing in it.

    `transformers.initialization.no_init_weights` does the same for more than PyTorch's own modules, but to import it
    takes two seconds and 130 MB.
    """

    def leave(tensor: Tensor, *_: object, **__: object) -> Tensor:
        return tensor

    with _LOCK, ExitStack() as patches:
        for name in list(vars(init)):
            if name.endswith("_") and not name.startswith("_"):
                patches.enter_context(patch.object(init, name, leave))
        yield
