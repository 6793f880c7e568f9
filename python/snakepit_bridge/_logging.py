"""Loggers below ``snakepit``, at the level that the host has.

Thread: any.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from typing import TextIO

ROOT = "snakepit"
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "none": 100}


def get_logger(name: str = "") -> logging.Logger:
    """The logger ``snakepit.NAME``; without a name ``snakepit``, to which ``session_context.log`` writes."""
    from logging import getLogger

    return getLogger(f"{ROOT}.{name}" if name else ROOT)


def configure_logging(level: str | int | None = None, stream: TextIO | None = None, format: str = FORMAT) -> logging.Logger:
    """Has the loggers below ``snakepit`` write to the stream (stderr, which the host captures), from the level on.

    level: "debug", "info", "warning", "error" or "none", or a number of ``logging``; without one the host's log level
    (``SNAKEPIT_LOG_LEVEL``), and "warning" where there is none. Called again, it replaces what it has set up before; handlers of others stay.
    """
    from logging import Formatter, StreamHandler

    asked = os.environ.get("SNAKEPIT_LOG_LEVEL", "warning") if level is None else level
    number = _LEVELS.get(asked.lower()) if isinstance(asked, str) else asked
    if number is None and level is None:
        number = _LEVELS["warning"]
    if not isinstance(number, int) or isinstance(number, bool):
        raise ValueError(f"level is one of {', '.join(_LEVELS)}, or a number, not {asked!r}")
    logger = get_logger()
    for handler in list(logger.handlers):
        if getattr(handler, "_snakepit", False):
            logger.removeHandler(handler)
    handler = StreamHandler(stream)
    handler.setFormatter(Formatter(format))
    handler._snakepit = True  # type: ignore[attr-defined]
    logger.addHandler(handler)
    logger.setLevel(number)
    logger.propagate = False
    return logger
