"""Users in a database: SQLite in a file, or PostgreSQL, by the same code."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import BigInteger, Engine, Integer, String, create_engine, event, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from part5.users import UserIn


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
    version: Mapped[int] = mapped_column(default=1)

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

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        Base.metadata.create_all(self._engine)
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

    def replace(self, user_id: int, user: UserIn, version: int) -> User | None:
        """Replace a user that still has `version`; None if there is no such user.

        Raises:
            ChangedError: it has another version by now.
            NameTakenError: another user has this name.
        """
        change = (
            update(User)
            .where(User.id == user_id, User.version == version)
            .values(**user.model_dump(), version=version + 1)
            .returning(User)
        )
        try:
            with self._sessions.begin() as session:
                changed = session.scalar(change)
        except IntegrityError as exc:
            raise NameTakenError from exc
        if changed is None and (found := self.get(user_id)) is not None:
            raise ChangedError(found.version)
        return changed

    def remove(self, user_id: int) -> bool:
        """Remove a user; whether there was one."""
        with self._sessions.begin() as session:
            found = session.get(User, user_id)
            if found is not None:
                session.delete(found)
            return found is not None


def _engine(url: str) -> Engine:
    place = make_url(url)
    if place.get_backend_name() != "sqlite":
        return create_engine(place, pool_pre_ping=True)
    if place.database:
        Path(place.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(place, connect_args={"timeout": 10})

    @event.listens_for(engine, "connect")
    def _readers_beside_a_writer(connection: object, _: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.close()

    return engine
