"""Prefill before there is a question: the beginning of the prompt that a conversation will send next.

The system prompt, the examples, instructions and history stand before the question, and the marks that open a user
turn as well. They are prefilled while nobody is being answered, so that after a question only its own tokens are left.
What all conversations share is kept in a file as well, as keys and values, so that a server that starts prefills
nothing.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections import deque
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from model.answer_maker import prompt_room
from model.kernels import amx, block_quantized, int_gemm
from model.kernels.processor import host_features
from model.lm import decoder_kernel
from model.request import InvalidRequest, Request
from model.rows import BodyRow, RowPool, common_length
from model.weights.packed_file import open_packed

if TYPE_CHECKING:
    from model.omni import MiniOmni

_QUESTIONS = ("Why?", "Hello.")
"""Two that have no token in common: prompts that differ in them alone are equal up to the question."""
_DAYS = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 6, 30, tzinfo=UTC))
_KERNELS = (amx, int_gemm, block_quantized, decoder_kernel)
"""What computes keys and values."""


class PrefillAhead:
    """Expected prompts of one engine, and the one that is being prefilled. For chat models; others have none."""

    def __init__(self, omni: MiniOmni, rows: RowPool, slice_: int, most: int) -> None:
        """`slice_`: positions a step; `most`: prompts that are expected at a time, the oldest is forgotten."""
        self._omni, self._rows, self._slice = omni, rows, slice_
        self._expected: deque[Request] = deque(maxlen=most)
        self._row: BodyRow | None = None

    def expect(self, request: Request) -> None:
        """A conversation's next prompt will begin as this request's does; its question does not count."""
        if self._omni.chat is not None:
            self._expected.append(request)

    @property
    def busy(self) -> bool:
        """There is something to prefill."""
        return self._row is not None or bool(self._expected)

    def step(self) -> None:
        """Prefill the next slice of an expected prompt."""
        if self._row is None:
            self._row = self._claim(self._beginning(self._expected.popleft()))
        if (row := self._row) is None:
            return
        try:
            self._prefill(row)
        except Exception:  # noqa: BLE001 - nobody waits for it; the answer that needs it says what broke
            self._rows.distrust(row)
            self._put_back(row)

    def pause(self) -> None:
        """Somebody is being answered now: stop, and forget what was expected. What was prefilled stays in its slot."""
        self._expected.clear()
        if self._row is not None:
            self._put_back(self._row)

    def load_shared(self, path: Path | None) -> None:
        """Restore what the prompts of all conversations share from the packed file at `path`; make the file where it is
        missing, or of another prompt, model, kernel or processor. Without a path nothing is kept.

        For float16 caches on a CPU. Raises `WeightsError` where the disk is full.
        """
        if not (ids := self._shared()):
            return

        @cache
        def computed() -> dict[str, np.ndarray]:
            row = self._row = self._claim(ids)
            assert row is not None
            while self._row is not None:
                self._prefill(row)
            keys, values = self._rows.keys_and_values(row)
            return {"keys": keys.numpy(), "values": values.numpy()}

        sections = open_packed(path, self._stamp(ids), lambda: computed().items())
        keys, values = (torch.from_numpy(np.array(sections[name])) for name in ("keys", "values"))
        self._rows.restore(ids, keys, values)

    # -- prompts --------------------------------------------------------------------------------------------------
    def _beginning(self, *requests: Request) -> list[int]:
        """Tokens with which all prompts of these requests begin, whatever is asked."""
        assert self._omni.chat is not None
        prompts = []
        for request in requests:
            room = prompt_room(request, self._rows.window)
            try:
                prompts += [self._omni.chat.encode(question, request, room) for question in _QUESTIONS]
            except InvalidRequest:  # instructions that do not fit are refused when somebody asks
                return []
        first, *others = prompts
        return first[: min(common_length(first, other) for other in others)]

    def _shared(self) -> list[int]:
        """Tokens with which the prompts of all conversations begin, with any date and any instructions."""
        if self._omni.chat is None:
            return []
        dated = (Request(asked_at=day, system_prompt=word) for day, word in zip(_DAYS, ("Be kind.", None), strict=True))
        return self._beginning(Request(), *dated)

    def _stamp(self, ids: list[int]) -> str:
        """Changes with whatever changes the keys and values of these tokens."""
        kernels = hashlib.sha256()
        for module in _KERNELS:
            kernels.update(Path(str(module.__file__)).read_bytes())
        machine = (platform.machine(), sorted(name for name, has in host_features().items() if has))
        fields = {
            "tokens": ids,
            "weights": self._omni.network.fingerprint,
            "kernels": kernels.hexdigest(),
            "compiler": version("llvmlite"),
            "machine": machine,
        }
        return json.dumps(fields)

    # -- prefill --------------------------------------------------------------------------------------------------
    def _claim(self, ids: list[int]) -> BodyRow | None:
        """A slot for a prompt's beginning; None where there is one that holds it."""
        slot, known = self._rows.place([*ids, -1])  # the last token of a prompt is always run: here it is none
        if known >= len(ids):
            return None
        waiting = self._omni.network.embed(torch.tensor(ids[known:]))
        row = BodyRow(slot, waiting, writes=False, speaks=False, position=known, ids=ids)
        self._rows.claim(row)
        return row

    @torch.inference_mode()
    def _prefill(self, row: BodyRow) -> None:
        """Run the row's next slice, and give its slot back after the last."""
        count = min(self._slice, len(row.waiting))
        self._rows.hidden([row], count)
        row.waiting = row.waiting[count:]
        row.position += count
        if not len(row.waiting):
            self._put_back(row)

    def _put_back(self, row: BodyRow) -> None:
        self._rows.free.append(row.slot)
        self._row = None
