"""Where the course keeps what it makes: `.course/`, and the `.env` beside it."""

import os
from dataclasses import dataclass
from pathlib import Path

from course.errors import CourseError


@dataclass(frozen=True)
class Home:
    """The folder of one embedded stack.

    COURSE_HOME moves it, for a second stack beside the first: the tests' own. The parts' scripts
    know nothing of that and read the repository's `.env`; export the ports to point them there.
    """

    path: Path

    @property
    def env_file(self) -> Path:
        """The settings file that the parts' scripts read from the repository root."""
        return self.path.parent / ".env"

    @property
    def lock_file(self) -> Path:
        """Held while a command starts or stops services."""
        return self.path / "lock"

    def data(self, service: str) -> Path:
        """The folder of a service's data; `course down --wipe` removes it."""
        return self.path / "data" / service

    def log(self, service: str) -> Path:
        """The file that a service's output goes to."""
        return self.path / "logs" / f"{service}.log"

    def run_record(self, service: str) -> Path:
        """The file that says which process is the service."""
        return self.path / "run" / f"{service}.json"


def repository() -> Path:
    """The root of the course's repository.

    Raises:
        CourseError: the package is installed without its repository around it.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / "pyproject.toml").is_file():
        raise CourseError(
            "the course's files are not here; clone the repository and run `uv run course` in it"
        )
    return root


def find_home() -> Home:
    """COURSE_HOME, or `.course` in the repository."""
    if place := os.environ.get("COURSE_HOME"):
        return Home(Path(place).resolve())
    return Home(repository() / ".course")
