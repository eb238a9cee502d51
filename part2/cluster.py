"""A Dask cluster behind joblib: one on this machine, or one that runs elsewhere."""

import _thread
import logging
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager

from dask import config
from distributed import Client, KilledWorker, LocalCluster
from distributed.comm import CommClosedError
from joblib import cpu_count, parallel_config

from part2.command import BadUsageError, WorkFailedError

CONNECT_SECONDS = 5

log = logging.getLogger(__name__)


@contextmanager
def dask_cluster(address: str | None, jobs: int | None) -> Iterator[None]:
    """Run joblib's work inside the `with` block on a Dask cluster, and leave nothing behind.

    Args:
        address: of a scheduler, such as tcp://127.0.0.1:8786; None starts a cluster here.
        jobs: number of workers of the cluster that is started here; None for one per core.

    Raises:
        BadUsageError: the address is none.
        WorkFailedError: no scheduler there, or none with workers, or it went away.
    """
    # Their loggers print a traceback for every connection that ends; failures are told below.
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(("distributed", "tornado", "asyncio")):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        if address is None:
            address = stack.enter_context(_local_cluster(jobs or cpu_count()))
        client = stack.enter_context(_client(address))
        workers = len(client.scheduler_info()["workers"])
        log.info("Dask scheduler %s, %d workers", address, workers)
        stack.enter_context(parallel_config("dask", client=client))
        lost = stack.enter_context(_interrupted_when_lost(client))
        try:
            yield
        except (CancelledError, CommClosedError, KilledWorker, KeyboardInterrupt) as exc:
            if isinstance(exc, KeyboardInterrupt) and not lost.is_set():
                raise
            raise WorkFailedError(
                f"the Dask cluster at {address} was lost during the search and nothing was saved; "
                "see its log, then search again"
            ) from exc


@contextmanager
def _local_cluster(workers: int) -> Iterator[str]:
    # A terminal sends Ctrl-C to the workers too. They inherit that it is ignored, so that they end
    # when this process tells them and not with a traceback each.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        )
    finally:
        signal.signal(signal.SIGINT, handler)
    with cluster:
        yield cluster.scheduler_address


@contextmanager
def _interrupted_when_lost(client: Client) -> Iterator[threading.Event]:
    """Interrupt the main thread, and set the event, when the scheduler goes away.

    Most fits then fail, and the search with them. But one that was being sent has no result and no
    error, and joblib would wait for it for ever.
    """
    lost, finished = threading.Event(), threading.Event()

    def watch() -> None:
        while not finished.wait(0.5):
            if client.status != "running":
                lost.set()
                _thread.interrupt_main()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lost
    finally:
        finished.set()
        watcher.join()


def _client(address: str) -> Client:
    # Checked here: a Client that fails over its address hangs for 20 s when it is collected.
    if not re.fullmatch(r"((tcp|tls)://)?(\[[^\]/]+\]|[^:/\s]+):\d{1,5}", address):
        raise BadUsageError(
            f"--dask {address} is no address of a Dask scheduler, such as tcp://127.0.0.1:8786"
        )
    start = (
        f"start one with `uv run dask scheduler` and `uv run dask worker {address}`, "
        "or leave the address out to use this machine"
    )
    try:
        with config.set({"distributed.comm.timeouts.connect": f"{CONNECT_SECONDS}s"}):
            client = Client(address, timeout=f"{CONNECT_SECONDS}s", set_as_default=False)
    except OSError as exc:  # a TimeoutError is one too
        raise WorkFailedError(
            f"no Dask scheduler at {address} after {CONNECT_SECONDS} s; {start}"
        ) from exc
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
    except TimeoutError as exc:
        client.close()
        raise WorkFailedError(
            f"the Dask scheduler at {address} has no worker after {CONNECT_SECONDS} s; "
            f"start one with `uv run dask worker {address}`"
        ) from exc
    return client
