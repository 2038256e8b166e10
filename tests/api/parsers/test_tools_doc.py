"""docs/tools.md is made from the tables."""

from __future__ import annotations

import pathlib

from api.parsers import tools_doc

PAGE = pathlib.Path(__file__).parents[3] / "docs/tools.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == tools_doc.make_page()
