"""Lists in messages, and even parts."""

from __future__ import annotations

import pytest

from predictd.wording import cut, even_parts, even_parts_of_at_most, short, some


def test_some_names_and_how_many_more():
    assert some([]) == ""
    assert some(["a", "b"]) == "a, b"
    assert some(iter("abcdefg")) == "a, b, c, d, e and 2 more"
    assert some([3, 1, 2], 2) == "3, 1 and 1 more"


def test_text_on_one_line_of_at_most_so_many_characters():
    assert short("a  b\n c") == "a b c" and short(3) == "3"
    assert short("abc  def", 7) == "abc def" and short("abc  defg", 7) == "abc de…"
    # Blanks that tell two values apart stay.
    assert cut("a  b") == "a  b" and cut("a  bcd", 5) == "a  b…"


@pytest.mark.parametrize(
    ("n", "parts", "borders"), [(7, 3, [(0, 2), (2, 4), (4, 7)]), (2, 2, [(0, 1), (1, 2)]), (0, 1, [(0, 0)])]
)
def test_even_parts(n, parts, borders):
    assert even_parts(n, parts) == borders


@pytest.mark.parametrize(("n", "n_parts"), [(5, 5), (16, 16), (100, 16), (1024, 16), (1025, 17), (6400, 100)])
def test_even_parts_of_at_most(n, n_parts):
    """At most 64 each, and 16 of them where there are as many things."""
    parts = even_parts_of_at_most(n, 64, at_least=16)
    assert len(parts) == n_parts and parts[0][0] == 0 and parts[-1][1] == n
    assert max(stop - start for start, stop in parts) <= 64
