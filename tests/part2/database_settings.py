"""A test's database as the settings of part 2, for tests that call its functions."""

from part2.settings import Settings, load_settings
from tests.conftest import Database


def settings_of(database: Database, **overrides: str) -> Settings:
    """What a script would read from `database.environ`."""
    environ = {name.lower(): value for name, value in database.environ.items()}
    return load_settings(**(environ | overrides))
