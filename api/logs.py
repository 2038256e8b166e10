"""One line per event on standard error, the same shape from our code and from libraries."""

from __future__ import annotations

import logging
import sys

import structlog

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def set_up_logging(level: str) -> None:
    """Send records of `level` and above to standard error. `level` is a key of `LEVELS`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(make_formatter(sys.stderr.isatty()))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(LEVELS[level])
    for name in ("alembic", "asyncio", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(max(LEVELS[level], logging.WARNING))


def make_formatter(is_terminal: bool) -> logging.Formatter:
    """Time, level, event and logger; coloured on a terminal."""
    before = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S"),
    ]
    renderer = structlog.dev.ConsoleRenderer(
        colors=is_terminal, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
