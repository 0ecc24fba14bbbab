"""The models that one server has loaded, by their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from server.generator import Generator


class UnknownModel(Exception):
    """No loaded model has this name; the message lists those that are loaded."""

    def __init__(self, name: str, loaded: Sequence[str]) -> None:
        super().__init__(f"there is no model {name[:80]!r} here; choose one of: {', '.join(loaded)}")


class Models:
    """At least one generator. The first one answers where no model is named.

    Names are known once `start` has returned: only then does an engine know which checkpoint it opened.
    """

    def __init__(self, generators: Sequence[Generator]) -> None:
        if not generators:
            raise ValueError("a server needs at least one model; give its generator")
        self._generators = tuple(generators)
        self._loaded: dict[str, Generator] = {}

    @property
    def default(self) -> Generator:
        """The first."""
        return self._generators[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the loaded models, the default first; empty while they load."""
        return tuple(self._loaded)

    def __iter__(self) -> Iterator[Generator]:
        return iter(self._generators)

    def get(self, name: str | None) -> Generator:
        """The model of this name, or the default for None. Raises `UnknownModel`."""
        if name is None:
            return self.default
        if name not in self._loaded:
            raise UnknownModel(name, self.names)
        return self._loaded[name]

    def get_or_default(self, name: str | None) -> Generator:
        """The model of this name; the default where there is none.

        For protocols of OpenAI's API, whose clients name a model of OpenAI's.
        """
        return self._loaded.get(name or "", self.default)

    async def start(self) -> None:
        """Load one after the other: each uses all cores while it loads.

        Raises `ValueError` when two have the same name, and what a generator raises.
        """
        loaded: dict[str, Generator] = {}
        for generator in self._generators:
            await generator.start()
            if generator.name in loaded:
                raise ValueError(
                    f"two models are called {generator.name!r}, so clients could not choose one of them; load each "
                    "checkpoint once, or rename the folder of one"
                )
            loaded[generator.name] = generator
        self._loaded = loaded

    async def stop(self) -> None:
        """Stop every generator."""
        for generator in self._generators:
            await generator.stop()
