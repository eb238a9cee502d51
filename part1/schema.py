"""The table `iris_data`: columns, constraints, index, and a check that a database has the same."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    DateTime,
    Double,
    Engine,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    func,
    inspect,
    text,
)

from part1.command import WorkFailedError

FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
LABELS = (0, 1, 2)  # setosa, versicolor, virginica
MAX_CM = 30.0  # the longest petal of any iris is below 15 cm; twice that is a broken ruler

metadata = MetaData()

iris_data = Table(
    "iris_data",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("timestamp", DateTime(timezone=True), nullable=False, server_default=func.now()),
    *(Column(name, Double, nullable=False) for name in FEATURES),
    Column("target", Integer, nullable=False),
    *(
        CheckConstraint(f"{name} > 0 AND {name} <= {MAX_CM:g}", name=f"iris_data_{name}_check")
        for name in FEATURES
    ),
    CheckConstraint("target IN (0, 1, 2)", name="iris_data_target_check"),
    # "The last hour" and "how old is the newest row" are asked by data quality and monitoring.
    Index("iris_data_timestamp_idx", "timestamp"),
)


def ensure_table(engine: Engine) -> bool:
    """Create `iris_data` where it is missing; return whether it was.

    Raises:
        WorkFailedError: there is one with other columns.
    """
    with engine.connect() as connection:  # in most cases there is nothing to write
        if connection.dialect.has_table(connection, iris_data.name):
            check_columns(connection)
            return False
    with engine.begin() as connection:
        # Two at once: the second waits here instead of failing on a half-made table.
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('iris_data'))"))
        missing = not connection.dialect.has_table(connection, iris_data.name)
        metadata.create_all(connection)
        check_columns(connection)
    return missing


def check_columns(connection: Connection) -> None:
    """Raise WorkFailedError unless the database's `iris_data` has the columns defined here."""
    dialect = connection.dialect
    wanted = {c.name: c.type.compile(dialect) for c in iris_data.columns}
    found = {
        c["name"]: c["type"].compile(dialect)
        for c in inspect(connection).get_columns(iris_data.name)
    }
    if found == wanted:
        return
    faults = [f"{n} is missing" for n in wanted if n not in found]
    faults += [f"{n} is unknown" for n in found if n not in wanted]
    faults += [
        f"{n} is {found[n]} instead of {wanted[n]}"
        for n in wanted
        if n in found and found[n] != wanted[n]
    ]
    raise WorkFailedError(
        f"table iris_data has other columns than this course's ({'; '.join(faults)}); "
        "rename it, or drop it and run `uv run python -m part1.table_creator`"
    )
