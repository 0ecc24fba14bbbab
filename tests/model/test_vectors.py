"""Vectors of sixteen numbers in compiled loops, and where compiled functions are kept."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from model.vectors import broadcast, compiled, exponential, store, writable


def test_the_exponential_is_a_float32exponential() -> None:
    x = np.concatenate([np.linspace(-87, 88, 4001), np.linspace(-1, 1, 2001)]).astype(np.float32)
    found = np.array([exponential(one) for one in x])
    np.testing.assert_allclose(found, np.exp(x.astype(np.float64)), rtol=3e-7)
    assert exponential(np.float32(-1000)) < 1e-37


def test_what_cannot_be_kept_on_disk_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    real = numba.njit

    def nowhere(*function: object, **options: object) -> object:
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function: no locator available")
        return real(*function, **options)

    monkeypatch.setattr(numba, "njit", nowhere)

    @compiled()
    def fill(y):  # type: ignore[no-untyped-def]
        store(y, 0, broadcast(np.float32(3)))

    y = np.zeros(16, np.float32)
    fill(y)
    assert (y == 3).all()


def test_what_was_compiled_is_used_from_where_nothing_may_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "compiled-abc"
    assert writable(folder) == folder  # Numba makes it
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "function.nbi").write_bytes(b"index")
    assert writable(folder) == folder
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    copy = writable(folder)
    assert copy.name == folder.name
    assert copy != folder
    assert (copy / "inner" / "function.nbi").read_bytes() == b"index"
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert writable(folder) == folder
