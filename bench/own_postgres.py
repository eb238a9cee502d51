"""A PostgreSQL server of the measurement's own, so that nobody else's work is in the figures."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from course.config import Config
from course.home import Home
from course.services.postgres import Postgres
from course.supervisor import Supervisor
from part1.schema import metadata
from part1.settings import Settings


@contextmanager
def own_postgres() -> Iterator[Settings]:
    """Start a server with an empty iris_data; its data are removed in the end."""
    with tempfile.TemporaryDirectory() as folder:
        supervisor = Supervisor(Home(Path(folder) / ".course"), Config(postgres_port=26500))
        try:
            port = supervisor.up([Postgres.name])[Postgres.name]
            settings = Settings(postgres_host="127.0.0.1", postgres_port=port)
            from part1.database import engine

            connections = engine(settings)
            metadata.create_all(connections)
            connections.dispose()
            yield settings
        finally:
            supervisor.down(wipe=True)


def environ(settings: Settings) -> dict[str, str]:
    """This process's environment, pointed at the server."""
    return os.environ | {
        "POSTGRES_HOST": settings.postgres_host,
        "POSTGRES_PORT": str(settings.postgres_port),
        "POSTGRES_USER": settings.postgres_user,
        "POSTGRES_PASSWORD": settings.postgres_password.get_secret_value(),
        "POSTGRES_DB": settings.postgres_db,
    }
