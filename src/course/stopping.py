"""Stop one service: ask it, wait, and end what a crash left of it."""

import psutil

from course import processes
from course.services.base import Service


def stop_service(service: Service, patience: float | None = None) -> bool:
    """Stop a service with all its processes; whether there was anything to stop.

    What still runs after `patience` seconds, else after the service's own time, is killed.
    """
    home, name = service.home, service.name
    record = processes.running(home, name)
    if record:
        _ask(service, record.pid, service.stop_seconds if patience is None else patience)
    # Workers without their server, a half-done start, and who did not listen.
    left_over = processes.of_service(home, name, service.owns)
    processes.end(left_over, seconds=1.0)
    home.run_record(name).unlink(missing_ok=True)
    return record is not None or bool(left_over)


def _ask(service: Service, pid: int, seconds: float) -> None:
    try:
        process = psutil.Process(pid)
        service.stop(pid)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return
    processes.wait([process], seconds)
