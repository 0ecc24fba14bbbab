"""Names of checkpoints: those that come with the package, and which of them `auto` is on this machine."""

from __future__ import annotations

import logging
from pathlib import Path

from model.settings import AUTO, default_cache_dir, default_model
from model.weights.memory import available_bytes
from model.weights.qwen_coder import QWEN_CODER_1_5B

log = logging.getLogger(__name__)

OMNI_1_5B, SMOL_OMNI = "omni-1.5b", "smol-omni"
_PACKAGE = Path(__file__).resolve().parent
CHECKPOINTS = (_PACKAGE if (_PACKAGE / "checkpoints").is_dir() else _PACKAGE.parent) / "checkpoints"
"""Inside the package where it is installed, beside it in a checkout."""
EMBEDDED = CHECKPOINTS / SMOL_OMNI
"""smol-omni, whose parts other checkpoints use."""
_NEEDED_GB = {"auto": 3, "int8": 3, "float16": 6, "bfloat16": 6}
_NEEDED_PLAIN_GB = 10
"""Memory that omni-1.5b takes while it serves, by number format."""


def packed_path(cache_dir: Path, weights: str) -> Path:
    """The packed file of a language model."""
    return cache_dir / f"{weights}.packed"


def prompt_path(cache_dir: Path, model: str) -> Path:
    """The file of the keys and values of a model's shared prompt."""
    return cache_dir / f"{model.replace('/', '--')}.prompt"


def choose(name: str | None, cache_dir: Path | None = None, dtype: object = "auto") -> str:
    """A name → what it stands for: `auto` becomes omni-1.5b or smol-omni, and one log line says why.

    None is the default: `OMNI_MODEL`, else `auto`. Other names, folders, files and hub ids are returned as they are.
    """
    name = default_model() if name is None else name
    if name != AUTO:
        return name
    needed = _NEEDED_GB.get(str(dtype), _NEEDED_PLAIN_GB) * 1_000_000_000
    available = available_bytes()
    packed = packed_path(cache_dir or default_cache_dir(), QWEN_CODER_1_5B.name)
    if available is not None and available < needed:
        log.warning(
            "model smol-omni: omni-1.5b needs %.1f GB of memory, and %.1f GB are available; --model omni-1.5b takes it "
            "all the same", needed / 1e9, available / 1e9,
        )  # fmt: skip
        return SMOL_OMNI
    if not packed.is_file() and not QWEN_CODER_1_5B.present:
        log.warning(
            "model smol-omni: the weights of omni-1.5b are not on this machine; to fetch them: make setup, or "
            "python -m model.checkpoint prepare omni-1.5b"
        )
        return SMOL_OMNI
    log.info("model omni-1.5b: its weights are on this machine, and memory is enough")
    return OMNI_1_5B
