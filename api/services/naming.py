"""Errors in the words of the API that was called, where another API's code checks its fields."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator

from engine.errors import RequestError


@contextlib.contextmanager
def naming(spell: Callable[[str], str]) -> Generator[None, None, None]:
    """Whatever field an error names inside is spelled as `spell` says, in its message too."""
    try:
        yield
    except RequestError as error:
        if error.param is not None:
            given, error.param = error.param, spell(error.param)
            error.message = error.message.replace(f"'{given}'", f"'{error.param}'")
            error.args = (error.message,)
        raise


def within(place: str) -> Callable[[str], str]:
    """Fields are members of the one at `place`."""
    return lambda param: f"{place}.{param}"
