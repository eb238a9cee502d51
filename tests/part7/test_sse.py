"""Server-sent events: however the bytes arrive, the events are the same."""

import itertools
import re

import orjson
from hypothesis import example, given, settings
from hypothesis import strategies as st
from serve.core.sse import COMMENT, DONE, EventReader, event

from tests.part7.servers import Event, events_of

ENDS = ("\n", "\r\n", "\r")
LINES = st.sampled_from(
    [
        "",
        "",
        ": a comment",
        ":",
        "data: hello",
        "data:hello",
        "data:  two blanks",
        "data: 강물은 바다로",
        "data:",
        "data: ",
        "data",
        "data: [DONE]",
        "datum: no data",
        " data: no field",
        "event: delta",
        "id: 7",
        "retry: 100",
    ]
)


def read(*pieces: bytes) -> list[bytes]:
    """What a reader makes of pieces."""
    reader = EventReader()
    return [data for piece in pieces for data in reader.feed(piece)]


def by_the_book(text: str) -> list[bytes]:
    """What the standard makes of a whole stream; events without data are left out, as here."""
    found: list[bytes] = []
    data: list[str] = []
    *lines, _unfinished = re.split("\r\n|\n|\r", text)
    for line in lines:
        if not line:
            if said := "\n".join(data):
                found.append(said.encode())
            data = []
        elif line.partition(":")[0] == "data":
            data.append(line.partition(":")[2].removeprefix(" "))
    return found


@settings(deadline=None)  # machines are shared
@given(
    lines=st.lists(st.tuples(LINES, st.sampled_from(ENDS)), max_size=30),
    cuts=st.lists(st.integers(min_value=0, max_value=400), max_size=40),
)
@example(lines=[("data: hello", "\r"), ("", "\r"), ("data: x", "\r"), ("", "\r\n")], cuts=[13, 14])
@example(lines=[("data: hello", "\r\n"), ("", "\r\n")], cuts=list(range(20)))
@example(lines=[("data: hello", "\n"), ("data", "\n"), ("", "\n")], cuts=[])
def test_events_do_not_depend_on_where_the_bytes_are_cut(
    lines: list[tuple[str, str]], cuts: list[int]
) -> None:
    # What ends in \r only is complete when it is known that no \n follows.
    text = "".join(line + end for line, end in lines) + ":\n"
    stream = text.encode()
    places = sorted({0, *(cut for cut in cuts if cut < len(stream)), len(stream)})
    pieces = [stream[a:b] for a, b in itertools.pairwise(places)]

    assert read(*pieces) == by_the_book(text)
    assert read(*(bytes([byte]) for byte in stream)) == by_the_book(text)


@settings(deadline=None)
@given(st.lists(st.text(), max_size=5))
def test_what_the_server_writes_can_be_read(texts: list[str]) -> None:
    stream = b"".join(event("delta", {"text": each}) + COMMENT for each in texts)

    assert [orjson.loads(data) for data in read(stream)] == [{"text": each} for each in texts]


def test_lines_of_data_are_joined() -> None:
    assert read(b"data: one\ndata: two\ndata:\ndata: four\n\n") == [b"one\ntwo\n\nfour"]


def test_comments_and_other_fields_are_no_data() -> None:
    assert read(b": hello\n\nevent: x\nid: 3\n\nevent: x\ndata: y\nid: 3\n\n") == [b"y"]


def test_an_event_without_data_is_none() -> None:
    assert read(b"data: \n\ndata:\n\n\n\ndata: x\n\n") == [b"x"]


def test_an_event_is_kept_back_until_its_empty_line() -> None:
    reader = EventReader()

    assert reader.feed(b"data: [DO") == []
    assert reader.feed(b"NE]\n") == []
    assert reader.feed(b"\ndata: next") == [DONE]


def test_an_event_has_a_name_a_number_and_json() -> None:
    assert event("delta", {"text": "a\nb 강"}, 7) == (
        b'id: 7\nevent: delta\ndata: {"text":"a\\nb \xea\xb0\x95"}\n\n'
    )
    lines = event("delta", {"text": "x"}, 7).decode().split("\n")
    assert list(events_of(iter(lines))) == [Event("delta", {"text": "x"}, 7)]
