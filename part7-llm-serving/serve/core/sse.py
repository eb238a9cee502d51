"""Server-sent events: read those of a model server, write those for our clients.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import orjson

DONE = b"[DONE]"


class EventReader:
    """Cuts a stream of bytes into the data of its events."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that are complete with this piece."""
        text = self._rest + piece
        if b"\r" in text:
            # A \r at the end may be the first half of \r\n.
            held = b"\r" if text.endswith(b"\r") else b""
            text = text.removesuffix(held).replace(b"\r\n", b"\n").replace(b"\r", b"\n") + held
        *events, self._rest = text.split(b"\n\n")
        found = []
        for event in events:
            if len(event) > 6 and event.startswith(b"data: ") and b"\n" not in event:  # nearly all
                found.append(event[6:])
                continue
            fields = (line.partition(b":") for line in event.split(b"\n"))
            if data := b"\n".join(v.removeprefix(b" ") for name, _, v in fields if name == b"data"):
                found.append(data)
        return found


def event(name: str, data: object, event_id: int | None = None) -> bytes:
    """One event with JSON as its data."""
    number = b"" if event_id is None else b"id: %d\n" % event_id
    return b"%sevent: %s\ndata: %s\n\n" % (number, name.encode(), orjson.dumps(data))


COMMENT = b": still here\n\n"  # keeps proxies from closing a stream in which nothing happens
