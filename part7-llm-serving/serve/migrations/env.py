"""What Alembic runs: on the connection that it is given, or on the settings' database."""

from alembic import context
from sqlalchemy import Connection

from serve.core.config import settings_or_exit
from serve.migrations.run import connected
from serve.models import Base

# Made by migrations, and no tables or indices of a model: see cruds/search.py.
OF_SEARCH = "chat_messages_search"


def include_object(_: object, name: str | None, *__: object) -> bool:
    """Leave alone what no model knows."""
    return not (name or "").startswith(OF_SEARCH)


def run(connection: Connection) -> None:
    """Run the migrations that were asked for."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_object=include_object,
        render_as_batch=True,  # SQLite alters a table by making a new one
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    # Not one of the server's, which enforce foreign keys: SQLite alters a table by dropping it, and
    # all rows that point to it would go with it.
    with connected(settings_or_exit().database_url.get_secret_value()) as connection:
        run(connection)
