"""`python -m server`: serve conversations until Ctrl-C or SIGTERM, then let answers in progress end."""

from __future__ import annotations

import sys

from pydantic import ValidationError
from pydantic_settings import CliApp

from server.settings import Settings


def main() -> int:
    """Serve. → 0 after a signal, 1 when the model did not start, 2 on a bad setting."""
    try:
        settings = CliApp.run(Settings)
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            name = "-".join(map(str, problem["loc"])).replace("_", "-")
            print(f"python -m server: --{name} {problem.get('input')!r}: {problem['msg']}", file=sys.stderr)
        return 2
    from model.async_engine import AsyncEngine  # after the settings: `--help` need not wait for torch
    from server.serving import serve

    engine = AsyncEngine(settings.model, max_slots=settings.slots, max_queue=settings.queue)
    return serve(settings, engine)


if __name__ == "__main__":
    raise SystemExit(main())
