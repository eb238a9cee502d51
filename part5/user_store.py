"""Users in a database: SQLite in a file, or PostgreSQL, by the same code."""

from collections.abc import Collection, Sequence
from threading import Event

from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    String,
    delete,
    func,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from sqlalchemy.schema import CreateTable

from part5.database import open_database
from part5.startup import StartError
from part5.users import UserIn

CREATION_LOCK = 5_000_005  # any number that nobody else locks in this database


class Base(DeclarativeBase):
    """The tables of this part."""


class User(Base):
    """One user; `version` counts its changes, so that two writers cannot overwrite each other."""

    __tablename__ = "users"

    # SQLite numbers rows by itself only for its own INTEGER.
    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True
    )
    name: Mapped[str] = mapped_column(String(50), unique=True)
    nickname: Mapped[str] = mapped_column(String(50))
    version: Mapped[int] = mapped_column(BigInteger, default=1)

    __table_args__ = ({"sqlite_autoincrement": True},)  # a number is never used twice


class NameTakenError(Exception):
    """Another user has this name."""


class ChangedError(Exception):
    """Somebody has changed the user since it was read."""

    def __init__(self, version: int) -> None:
        super().__init__(version)
        self.version = version


class UserStore:
    """The users of one database; every method is one transaction."""

    def __init__(self, url: str, wait_seconds: float = 10.0, stopped: Event | None = None) -> None:
        """Open it; `stopped` ends the wait for a server that does not answer yet.

        Raises:
            StartError: the database does not answer, or its table `users` is another one.
        """
        self._engine = open_database(url, wait_seconds, _create_table, stopped or Event())
        self._sessions = sessionmaker(self._engine, expire_on_commit=False)

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def ping(self) -> None:
        """Ask the database for nothing; raises what keeps it from answering."""
        with self._sessions() as session:
            session.scalar(select(1))

    def add(self, user: UserIn) -> User:
        """Add a user.

        Raises:
            NameTakenError: the name is in use. The table decides, so two requests cannot both win.
        """
        made = User(**user.model_dump())
        try:
            with self._sessions.begin() as session:
                session.add(made)
        except IntegrityError as exc:
            raise NameTakenError from exc
        return made

    def get(self, user_id: int) -> User | None:
        """One user."""
        with self._sessions() as session:
            return session.get(User, user_id)

    def page(self, after: int, limit: int) -> Sequence[User]:
        """Up to `limit` users with numbers above `after`, in order.

        By number and not by OFFSET: the thousandth page costs as much as the first, and a user
        that is added or removed meanwhile makes nobody appear twice or not at all.
        """
        with self._sessions() as session:
            query = select(User).where(User.id > after).order_by(User.id).limit(limit)
            return session.scalars(query).all()

    def replace(self, user_id: int, user: UserIn, versions: Collection[int] | None) -> User | None:
        """Replace a user that still has one of `versions`, or any if None; None if there is none.

        One statement compares and writes, so that nobody can come between.

        Raises:
            ChangedError: it has another version by now.
            NameTakenError: another user has this name.
        """
        change = update(User).where(User.id == user_id)
        if versions is not None:
            change = change.where(User.version.in_(versions))
        write = change.values(**user.model_dump(), version=User.version + 1).returning(User)
        try:
            with self._sessions.begin() as session:
                changed = session.scalar(write)
        except IntegrityError as exc:
            raise NameTakenError from exc
        if changed is None and (found := self.get(user_id)) is not None:
            raise ChangedError(found.version)
        return changed

    def remove(self, user_id: int) -> bool:
        """Remove a user; whether there was one."""
        with self._sessions.begin() as session:
            removal = delete(User).where(User.id == user_id).returning(User.id)
            return session.scalar(removal) is not None


def _create_table(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Two servers that start at once: IF NOT EXISTS alone lets both create, and one fails.
        connection.execute(select(func.pg_advisory_xact_lock(CREATION_LOCK)))
    connection.execute(CreateTable(User.metadata.tables["users"], if_not_exists=True))
    table = inspect(connection)
    there = {column["name"] for column in table.get_columns("users")}
    missing = sorted(set(User.metadata.tables["users"].columns.keys()) - there)
    constraints = [each["column_names"] for each in table.get_unique_constraints("users")]
    indexes = [each["column_names"] for each in table.get_indexes("users") if each["unique"]]
    if ["name"] not in constraints + indexes:  # then two users could have one name
        missing.append("UNIQUE (name)")
    if missing:
        raise StartError(
            f"the table users of this database is not ours: it has no {', '.join(missing)}; "
            "rename it, or name another database in USERS_DATABASE_URL"
        )
