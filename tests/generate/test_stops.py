import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.errors import ConfigError
from corpuskit.generate.stops import StopStrings, as_stops

letters = st.text(alphabet="ab我\n", max_size=12)


def cut(text, stops):
    """The definition: up to the first place where a stop string begins."""
    found = [text.index(stop) for stop in stops if stop in text]
    return text[: min(found)] if found else text


@given(st.lists(letters, max_size=8), st.lists(letters.filter(bool), min_size=1, max_size=3))
def test_text_is_cut_at_the_first_stop_string_however_it_is_split(pieces, stops):
    stream = StopStrings(stops)
    shown = ""
    text = ""
    for piece in pieces:
        if stream.stopped:
            break
        text += piece
        shown += stream.push(piece)
        assert cut(text, stops).startswith(shown)
        if not stream.stopped:
            # what is held back could still become a stop string
            held = text[len(shown) :]
            assert not held or any(stop.startswith(held) for stop in stops)
    assert shown + stream.finish() == cut(text, stops)
    assert stream.stopped == any(stop in text for stop in stops)


def test_the_stop_string_that_begins_first_cuts_also_if_it_ends_later():
    stream = StopStrings(["c", "bcd"])
    assert stream.push("abcde") == "a"
    assert stream.push("more") == ""


def test_without_stop_strings_text_passes_at_once():
    stream = StopStrings([])
    assert stream.push("用户：") == "用户："
    assert stream.finish() == ""


def test_an_empty_stop_string_is_refused():
    with pytest.raises(ConfigError, match="stop"):
        StopStrings(["a", ""])


def test_what_is_no_string_is_refused():
    for stops in (None, 3, [b"a"]):
        with pytest.raises(ConfigError, match="stop: must be text"):
            as_stops(stops)


def test_one_stop_string_may_be_given_alone():
    assert as_stops("ab") == ("ab",)
    assert as_stops(["ab", "c"]) == ("ab", "c")
