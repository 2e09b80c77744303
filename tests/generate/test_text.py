from hypothesis import given
from hypothesis import strategies as st

from corpuskit.generate.text import TextStream


class Bytes:
    """Token = byte, decoded as a byte-level BPE decodes."""

    def decode(self, ids):
        return bytes(ids).decode("utf-8", errors="replace")


class ByteFallback:
    """As the decoder of a SentencePiece-like tokenizer.json: a run of bytes is text as a whole or not at all.

    Ids from 256 are words that carry their space; the first space of a text is dropped.
    """

    def decode(self, ids):
        text, run = "", b""
        for token in [*ids, None]:
            if token is not None and token < 256:
                run += bytes([token])
                continue
            try:
                text += run.decode("utf-8")
            except UnicodeDecodeError:
                text += "\ufffd" * len(run)
            run = b""
            if token is not None:
                text += f" w{token}"
        return text.removeprefix(" ")


@given(st.text(), st.text())
def test_text_comes_out_whole_and_each_character_as_soon_as_it_is_complete(prompt, text):
    stream = TextStream(Bytes(), prompt.encode())
    shown, pushed = "", b""
    for byte in text.encode():
        piece = stream.push(byte)
        pushed += bytes([byte])
        shown += piece
        if "\ufffd" not in text:
            assert shown == pushed.decode("utf-8", errors="ignore")
    assert shown == text.rstrip("\ufffd")  # a real U+FFFD is shown once something follows it


@given(st.binary(max_size=40))
def test_broken_bytes_in_the_middle_are_shown_and_a_broken_tail_is_not(data):
    stream = TextStream(Bytes())
    shown = "".join(stream.push(byte) for byte in data)
    assert shown == data.decode("utf-8", errors="replace").rstrip("\ufffd")


@given(
    st.lists(st.integers(256, 300) | st.characters(exclude_categories=["Cs"]).filter(lambda c: c != "\ufffd"))
)
def test_words_keep_their_spaces_and_long_runs_of_fallback_bytes_their_characters(parts):
    ids = [i for part in parts for i in ([part] if isinstance(part, int) else part.encode())]
    stream = TextStream(ByteFallback(), [256])
    assert " ".join(["w256"]) + "".join(map(stream.push, ids)) == ByteFallback().decode([256, *ids])
