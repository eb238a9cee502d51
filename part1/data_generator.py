"""Stream iris rows into PostgreSQL, exactly once, at a rate or as fast as possible.

uv run python -m part1.data_generator --rate 10 --count 100
uv run python -m part1.data_generator --count 1000 --bulk
"""

import logging
import signal
import threading
import time
from typing import Annotated

import typer

from part1.command import BadUsageError, DebugOption, run
from part1.settings import load_settings

log = logging.getLogger(__name__)


def _positive(value: float | None) -> float | None:
    if value is not None and not 0 < value < float("inf"):
        raise typer.BadParameter(f"{value:g} is not greater than 0")
    return value


def generate(
    rate: Annotated[
        float | None, typer.Option(help="Rows per second (default: 1).", callback=_positive)
    ] = None,
    count: Annotated[
        int | None, typer.Option(help="Stop after this many rows (default: never).", min=1)
    ] = None,
    batch_size: Annotated[
        int, typer.Option(help="Write when this many rows wait ...", min=1)
    ] = 100,
    flush_interval: Annotated[
        float, typer.Option(help="... or after this many seconds.", callback=_positive)
    ] = 1.0,
    bulk: Annotated[
        bool, typer.Option("--bulk", help="As fast as possible; needs --count.")
    ] = False,
    seed: Annotated[
        int, typer.Option(help="Which stream; the same seed, the same rows.", min=0)
    ] = 2022,
    reconnect_seconds: Annotated[
        float, typer.Option(help="How long to wait for a lost server.", callback=_positive)
    ] = 60.0,
    db_host: Annotated[str | None, typer.Option(help="Overrides POSTGRES_HOST.")] = None,
    db_port: Annotated[
        int | None, typer.Option(help="Overrides POSTGRES_PORT.", min=1, max=65535)
    ] = None,
    db_user: Annotated[str | None, typer.Option(help="Overrides POSTGRES_USER.")] = None,
    db_name: Annotated[str | None, typer.Option(help="Overrides POSTGRES_DB.")] = None,
    debug: DebugOption = False,  # noqa: ARG001 - read by run()
) -> None:
    """Draw rows from scikit-learn's iris and write them to table iris_data.

    Row n has id n and depends on the seed and n only: after a crash the stream goes on where the
    table ends. The password comes from POSTGRES_PASSWORD, never from the command line, where
    every user of the machine could read it.
    """
    if bulk and count is None:
        raise BadUsageError("--bulk without --count would fill the disk; add --count ROWS")
    if bulk and rate is not None:
        raise BadUsageError("--bulk is as fast as possible; leave out --rate, or leave out --bulk")
    settings = load_settings(
        postgres_host=db_host, postgres_port=db_port, postgres_user=db_user, postgres_db=db_name
    )
    # Heavy imports after the refusals above.
    from part1 import pacing
    from part1.draw import IrisStream
    from part1.table_writer import StoppedError, TableWriter
    from part1.wire import Encoder

    stop = threading.Event()
    writer = TableWriter(settings, reconnect_seconds, stop.is_set)
    # From here on a signal finishes the batch; before, there is nothing to finish.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    encoder = Encoder(IrisStream(seed))
    first = writer.last_id + 1
    begun = time.monotonic()
    try:
        if bulk and count is not None:
            pacing.bulk(writer, encoder, count, stop)
        else:
            pacing.stream(
                writer,
                encoder,
                rate=rate or 1.0,
                count=count,
                batch_size=batch_size,
                flush_interval=flush_interval,
                stop=stop,
            )
    except StoppedError:
        log.info("stopped while PostgreSQL is away; the next start goes on from the table's end")
    finally:
        writer.close()
        written = writer.last_id - first + 1
        seconds = max(time.monotonic() - begun, 1e-9)
        ids = f" (id {first} to {writer.last_id})" if written else ""
        log.info(
            "wrote %s rows%s in %.2f s: %s rows/s",
            f"{written:,}",
            ids,
            seconds,
            f"{written / seconds:,.0f}" if written / seconds >= 100 else f"{written / seconds:.2f}",
        )


if __name__ == "__main__":
    run(generate)
