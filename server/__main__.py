"""`python -m server`: serve conversations until Ctrl-C or SIGTERM, then let answers in progress end."""

from __future__ import annotations

import logging
import os
import sys

from pydantic import ValidationError

from omni_command import called_as
from server.flags import parse


def main() -> int:
    """Serve. → 0 after a signal, 1 when a model did not start, 2 on a bad setting."""
    try:
        settings = parse()
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            name = "-".join(map(str, problem["loc"])).replace("_", "-")
            print(f"{called_as('server')}: --{name} {problem.get('input')!r}: {problem['msg']}", file=sys.stderr)
        return 2
    from model.process_memory import bound_memory  # after the settings: `--help` need not wait for what is imported

    bound_memory()
    import torch

    from model.async_engine import AsyncEngine
    from model.checkpoint_names import choose
    from server.logs import configure_logging
    from server.serving import serve

    configure_logging(settings.log_level, settings.log_format)
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    engines = [
        AsyncEngine(
            choose(model, settings.cache_dir, settings.dtype),
            settings.slots,
            settings.queue,
            device,
            settings.dtype,
            threads=settings.threads or None,
            cache_dir=settings.cache_dir,
        )
        for model in settings.models
    ]
    return serve(settings, engines)


def run() -> None:
    """The command: `main`, then the end of the process."""
    code = main()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # everything is stopped; taking the interpreter and a gigabyte of weights apart can take seconds


if __name__ == "__main__":
    run()
