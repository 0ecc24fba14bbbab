"""The packed file: made once, shared, and made anew when it is not what it should be."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.weights import packed_file
from model.weights.errors import WeightsError
from model.weights.packed_file import open_packed

ROOT = Path(__file__).parents[3]


class Maker:
    """Sections of several types and odd sizes; counts how often they were asked for."""

    def __init__(self, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.count = 0
        self.sections: dict[str, np.ndarray] = {
            "words": random.integers(0, 2**32, (5, 7), np.uint32),
            "text": np.frombuffer(b"{}!", np.uint8),
            "halves": random.standard_normal((3, 11)).astype(np.float16),
            "turned": random.standard_normal((40, 50)).astype(np.float32).T,
            "nothing": np.zeros((0, 4), np.float32),
            "one": np.array(2.5, np.float32),
        }

    def __call__(self) -> Iterator[tuple[str, np.ndarray]]:
        self.count += 1
        yield from self.sections.items()

    def check(self, found: dict[str, np.ndarray]) -> None:
        assert found.keys() == self.sections.keys()
        for name, array in self.sections.items():
            assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
            np.testing.assert_array_equal(found[name], array)
            assert not found[name].flags.writeable


def test_it_is_made_once_and_mapped_after_that(tmp_path: Path) -> None:
    path, make = tmp_path / "cache" / "model.packed", Maker()
    make.check(open_packed(path, "stamp", make))
    found = open_packed(path, "stamp", make)
    make.check(found)
    assert make.count == 1
    assert all(array.ctypes.data % 64 == 0 for array in found.values())
    maps = Path("/proc/self/maps").read_text().splitlines()
    assert any(line.endswith(str(path)) and line.split()[1] == "r--s" for line in maps), "shared by processes"
    assert {file.suffix for file in path.parent.iterdir()} == {".packed", ".lock"}


def test_another_stamp_replaces_it_and_who_has_it_open_keeps_it(tmp_path: Path) -> None:
    path, old, new = tmp_path / "model.packed", Maker(0), Maker(1)
    kept = open_packed(path, "old", old)
    new.check(open_packed(path, "new", new))
    old.check(kept)
    assert (old.count, new.count) == (1, 1)


def overwritten(at: int, content: bytes) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        whole = bytearray(path.read_bytes())
        at_ = at % len(whole)
        assert whole[at_ : at_ + len(content)] != content
        whole[at_ : at_ + len(content)] = content
        path.write_bytes(whole)

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"GGUF"),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.write_bytes(path.read_bytes() + b" "),
        overwritten(0, b"OTHERAPP"),
        overwritten(8, b"\x63"),
        overwritten(64, b"\1\2\3\4"),
        overwritten(-1, b"]"),
        lambda path: path.unlink(),
    ],
)
def test_a_file_that_is_not_whole_is_made_anew(damage: Callable[[Path], None], tmp_path: Path) -> None:
    path, make = tmp_path / "model.packed", Maker()
    make.sections["words"][0, 0] = 0
    del make.sections["halves"]
    open_packed(path, "stamp", make)
    damage(path)
    make.check(open_packed(path, "stamp", make))
    assert make.count == 2
    make.check(open_packed(path, "stamp", make))
    assert make.count == 2


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "model.packed.1.partial"
    left.write_bytes(bytes(100))
    open_packed(tmp_path / "model.packed", "stamp", Maker())
    assert not left.exists()


PROCESS = """
import sys, time
from pathlib import Path
import numpy as np
from model.weights.packed_file import open_packed
def make():
    print("made", flush=True)
    yield "a", np.arange(100_000)
    time.sleep(0.5)
    yield "b", np.arange(10)
sys.stdin.readline()
found = open_packed(Path(sys.argv[1]), "stamp", make)
print(int(found["a"].sum()), int(found["b"].sum()))
"""


def test_two_processes_that_start_at_once_pack_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROCESS, str(tmp_path / "model.packed")]
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    processes = [subprocess.Popen(command, **options) for _ in range(2)]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    lines = [process.communicate(timeout=120)[0].split("\n") for process in processes]
    said = [line for told in lines for line in told if line]
    assert sorted(said) == ["4999950000 45", "4999950000 45", "made"]


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    make = Maker()
    with caplog.at_level(logging.WARNING):
        make.check(open_packed(tmp_path / "file" / "model.packed", "stamp", make))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "OMNI_CACHE_DIR" in caplog.text
    make.check(open_packed(None, "stamp", make))


def test_a_folder_that_becomes_unwritable_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container with a read-only root: the file was made with the image."""
    path, make = tmp_path / "model.packed", Maker()
    open_packed(path, "stamp", make)

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(packed_file, "_lock", refuse)
    make.check(open_packed(path, "stamp", make))
    assert make.count == 1
    make.check(open_packed(path, "another", make))
    assert make.count == 2


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def make() -> Iterator[tuple[str, np.ndarray]]:
        yield "large", np.zeros(2_000_000, np.uint8)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WeightsError, match=rf"the disk is full: .* 2 MB in {tmp_path}; .*OMNI_CACHE_DIR"):
        open_packed(tmp_path / "model.packed", "stamp", make)
    assert {file.suffix for file in tmp_path.iterdir()} <= {".lock"}


def test_an_error_while_packing_leaves_nothing(tmp_path: Path) -> None:
    def make() -> Iterator[tuple[str, np.ndarray]]:
        yield "first", np.zeros(10)
        raise WeightsError("the weights are gone")

    with pytest.raises(WeightsError, match="the weights are gone"):
        open_packed(tmp_path / "model.packed", "stamp", make)
    assert {file.suffix for file in tmp_path.iterdir()} <= {".lock"}
    Maker().check(open_packed(tmp_path / "model.packed", "stamp", Maker()))


def test_the_index_says_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "model.packed"
    open_packed(path, "of a model", Maker())
    whole = path.read_bytes()
    index = json.loads(whole[whole.rindex(b'{"stamp"') :])
    assert index["stamp"] == "of a model"
    assert [one["name"] for one in index["sections"]] == list(Maker().sections)
