"""The API reference is made from the docstrings, and up to date."""

from __future__ import annotations

import a3s_lane
import reference
from a3s_lane import testing


def test_the_page_is_what_the_docstrings_make() -> None:
    made = reference.page()
    assert reference.PAGE.read_text(encoding="utf-8") == made, "run python python/tests/reference.py"


def test_everything_public_is_on_it() -> None:
    headings = [line.lstrip("# ") for line in reference.page().splitlines() if line.startswith("#")]
    expected = {*a3s_lane.__all__, *testing.__all__} - {"UNSET", "__version__", "Unrecoverable"}
    assert expected <= set(headings)
    assert {"Lane.submit", "CommandContext.check", "lane_clock"} <= set(headings)
