"""`course doctor`: what on this machine is in the way of the course, and what to do about it."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import psutil
from rich.console import Console
from rich.markup import escape

from course import env_file, ports, processes
from course.config import load_config
from course.errors import CourseError
from course.home import Home, find_home
from course.services import make_services
from course.steps import API_PORT
from course.supervisor import NEEDED_DISK

# They change how a client talks, not to whom.
_HARMLESS = {"AWS_CA_BUNDLE", "AWS_PAGER"}


class Verdict(StrEnum):
    """How much a finding matters."""

    GOOD = "good"
    NOTE = "note"  # the course runs, but somebody may wonder
    BAD = "bad"  # the course does not run


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was found, and what to do unless it is good."""

    subject: str
    verdict: Verdict
    found: str
    remedy: str = ""


def examine() -> int:
    """Print the findings; 1 if something keeps the course from running, else 0."""
    marks = {Verdict.GOOD: "[green]✓[/]", Verdict.NOTE: "[yellow]![/]", Verdict.BAD: "[red]✗[/]"}
    console = Console(soft_wrap=True, highlight=False)
    count = dict.fromkeys(Verdict, 0)
    for finding in look(find_home()):
        count[finding.verdict] += 1
        console.print(f"{marks[finding.verdict]} {finding.subject:<20} {escape(finding.found)}")
        if finding.remedy:
            console.print(f"  {'':<20} → {escape(finding.remedy)}")
    bad, notes = count[Verdict.BAD], count[Verdict.NOTE]
    said = f"{bad} to mend before the course runs" if bad else "nothing is in the way"
    console.print(f"\n{said}{f'; {notes} to know of, marked !' if notes else ''}")
    return int(bad > 0)


def look(home: Home) -> Iterator[Finding]:
    """All findings, cheapest first."""
    yield _python()
    yield _architecture()
    yield _disk(home)
    yield _user()
    yield from _env_file(home)
    yield from _ports(home)
    yield from _variables()
    yield _docker()


def _python() -> Finding:
    found = platform.python_version()
    if sys.version_info[:2] == (3, 12):
        return Finding("Python", Verdict.GOOD, found)
    remedy = "the course is tested with 3.12, which .python-version names: `uv sync --python 3.12`"
    return Finding("Python", Verdict.NOTE, found, remedy)


def _architecture() -> Finding:
    system, machine = platform.system(), platform.machine()
    found = f"{system} on {machine}"
    if machine.lower() in {"x86_64", "amd64", "arm64", "aarch64"}:
        if system == "Linux" and platform.libc_ver()[0] != "glibc":
            return Finding(
                "architecture",
                Verdict.BAD,
                f"{found} without glibc",
                "the wheels of PostgreSQL need glibc: use Debian, Ubuntu or Fedora, or the compose "
                "files",
            )
        return Finding("architecture", Verdict.GOOD, found)
    return Finding(
        "architecture",
        Verdict.BAD,
        found,
        "there is no PostgreSQL wheel for this processor; use the compose files",
    )


def _disk(home: Home) -> Finding:
    place = next(p for p in (home.path, *home.path.parents) if p.exists())
    free = psutil.disk_usage(str(place)).free
    found = f"{free / 1024**3:.1f} GB free for {home.path}"
    if free >= 4 * NEEDED_DISK:
        return Finding("disk", Verdict.GOOD, found)
    verdict = Verdict.NOTE if free >= NEEDED_DISK else Verdict.BAD
    return Finding(
        "disk", verdict, found, "free some space; the servers and models take about 1 GB"
    )


def _user() -> Finding:
    if os.name == "nt" or os.geteuid() != 0:
        return Finding("user", Verdict.GOOD, "an ordinary user")
    if shutil.which("setpriv"):
        return Finding("user", Verdict.GOOD, "root; PostgreSQL runs as nobody, through setpriv")
    return Finding(
        "user",
        Verdict.BAD,
        "root, and no setpriv here",
        "PostgreSQL does not run as root: install util-linux, or run as an ordinary user",
    )


def _env_file(home: Home) -> Iterator[Finding]:
    if not env_file.is_utf8(home.env_file):
        yield Finding(
            ".env",
            Verdict.BAD,
            f"{home.env_file} is not in UTF-8",
            "the scripts cannot read it: save it as UTF-8, which every editor offers",
        )


def _ports(home: Home) -> Iterator[Finding]:
    try:
        config = load_config(home)
    except CourseError as exc:
        yield Finding("ports", Verdict.BAD, str(exc), "correct it in .env or in this shell")
        return
    for name, service in make_services(home, config).items():
        port = service.preferred_port
        record = processes.running(home, name)
        subject = f"port {port}"
        if record:
            yield Finding(subject, Verdict.GOOD, f"{name} runs on {record.port}")
        elif ports.is_free(port):
            yield Finding(subject, Verdict.GOOD, f"free for {name}")
        else:
            yield Finding(
                subject,
                Verdict.NOTE,
                f"held by {ports.holder(port)}",
                f"`course up` gives {name} another port and writes it to .env; stop that program "
                f"to have {port}",
            )
    if ports.is_free(API_PORT):
        yield Finding(f"port {API_PORT}", Verdict.GOOD, "free for the APIs of the lessons")
    else:
        yield Finding(
            f"port {API_PORT}",
            Verdict.NOTE,
            f"held by {ports.holder(API_PORT)}",
            "the lessons' APIs listen there: stop that program, or give `uvicorn` another --port "
            "and ask there",
        )


def _variables() -> Iterator[Finding]:
    left_over = sorted(
        name
        for name in os.environ
        if name == "MLFLOW_TRACKING_URI"
        or (name.startswith(("AWS_", "POSTGRES_", "PG")) and name not in _HARMLESS)
    )
    if not left_over:
        yield Finding("environment", Verdict.GOOD, "no variable points the scripts elsewhere")
    for name in left_over:
        hidden = any(word in name for word in ("KEY", "SECRET", "TOKEN", "PASSWORD", "PASS"))
        value = "(hidden)" if hidden else os.environ[name]
        reader = "S3 clients obey it" if name.startswith("AWS_") else "scripts obey it before .env"
        yield Finding(
            "environment",
            Verdict.NOTE,
            f"{name}={value}",
            f"{reader}; `unset {name}` unless you mean it",
        )


def _docker() -> Finding:
    if shutil.which("docker") is None:
        return Finding(
            "Docker",
            Verdict.NOTE,
            "not installed",
            "only the compose files need it; the lessons run without",
        )
    try:
        asked = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finding("Docker", Verdict.NOTE, "does not answer", "restart Docker for compose")
    if asked.returncode != 0:
        return Finding(
            "Docker",
            Verdict.NOTE,
            "installed, but no engine answers",
            "start Docker Desktop or `sudo systemctl start docker` for the compose files",
        )
    return Finding("Docker", Verdict.GOOD, f"engine {asked.stdout.strip()}")
