"""The table `iris_data` as the data pipeline makes it."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    DateTime,
    Double,
    Float,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    Table,
    func,
    inspect,
)

from part3.command import WorkFailedError
from part3.iris import FEATURES, MAX_CM

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
    Index("iris_data_timestamp_idx", "timestamp"),
)


def check_columns(connection: Connection) -> None:
    """Raise WorkFailedError unless `iris_data` is there with numbers in the columns training reads.

    Further columns do no harm, so that a table which has grown can still be trained on.
    """
    if not inspect(connection).has_table(iris_data.name):
        raise WorkFailedError(
            f"database {connection.engine.url.database!r} has no table iris_data; make and fill it "
            "with `uv run python -m part1.table_creator` and "
            "`uv run python -m part1.data_generator --count 1000 --bulk`, "
            "or with `uv run python -m part3.seed_database`"
        )
    found = {c["name"]: c["type"] for c in inspect(connection).get_columns(iris_data.name)}
    needed = ("id", *FEATURES, "target")
    faults = [f"{name} is missing" for name in needed if name not in found]
    faults += [
        f"{name} is {found[name].compile(connection.dialect)} instead of a number"
        for name in needed
        if name in found and not isinstance(found[name], (Integer, Float, Numeric))
    ]
    if faults:
        raise WorkFailedError(
            f"table iris_data has other columns than this course's ({'; '.join(faults)}); "
            "rename it, or drop it and run `uv run python -m part1.table_creator`"
        )
