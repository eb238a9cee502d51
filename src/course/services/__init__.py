"""The embedded servers, each the real one from a wheel."""

from collections.abc import Iterable

from course.config import Config
from course.errors import CourseUsageError
from course.home import Home
from course.services.base import Service
from course.services.chat_server import ChatServer
from course.services.mlflow_server import MlflowServer
from course.services.object_store import ObjectStore
from course.services.postgres import Postgres
from course.services.tutor import Tutor

# In start order: a service comes after those it needs.
SERVICES: dict[str, type[Service]] = {
    kind.name: kind for kind in (Postgres, ObjectStore, MlflowServer, Tutor, ChatServer)
}

# What each part's lesson needs, and with it whatever that needs; a part's issue adds its line.
PARTS: dict[str, tuple[str, ...]] = {
    "part1": (Postgres.name,),
    "part2": (Postgres.name,),
    "part3": (Postgres.name, ObjectStore.name, MlflowServer.name),
    "part5": (Postgres.name,),
    "part6": (Postgres.name, ObjectStore.name, MlflowServer.name),
    "part7": (MlflowServer.name, Tutor.name, ChatServer.name),
}


def make_services(home: Home, config: Config) -> dict[str, Service]:
    """All services of one stack by name, in start order."""
    return {name: kind(home, config) for name, kind in SERVICES.items()}


def named(name: str | None) -> list[str]:
    """The services that a part, a service's own name, or None (everything) stands for.

    Raises:
        CourseUsageError: there is no such part or service.
    """
    if name is None:
        return list(SERVICES)
    if name in PARTS or name in SERVICES:
        wanted = list(PARTS.get(name, (name,)))
        for service in wanted:
            wanted += [need for need in SERVICES[service].needs if need not in wanted]
        return [service for service in SERVICES if service in wanted]
    raise CourseUsageError(
        f"there is no part or service {name!r}{suggestion(name, [*PARTS, *SERVICES])}; "
        f"parts: {', '.join(PARTS)}; services: {', '.join(SERVICES)}"
    )


def suggestion(name: str, known: Iterable[str]) -> str:
    """A question in parentheses where known names begin with `name`, in any case; else nothing."""
    near = [each for each in known if name and each.startswith(name.lower())]
    return f" (did you mean {' or '.join(near)}?)" if near else ""
