"""Move the alias `champion` to the best version of a model, never to a worse one by accident.

uv run python -m part3.promote_model --model-name sk_model
"""

import logging
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from part3.command import DebugOption, WorkFailedError, run
from part3.registry import (
    CHAMPION,
    HASH_TAG,
    ROWS_TAG,
    ModelNameOption,
    connect,
    explained,
    find_model,
    unknown_version,
    versions_of,
)
from part3.settings import load_settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A model version with the metrics of the run that made it."""

    number: int
    data_hash: str | None
    data_rows: str | None
    metrics: dict[str, float]

    def value(self, metric: str) -> float:
        """Return the metric, NaN where the run has not logged it."""
        return self.metrics.get(metric, math.nan)


def promote_model(
    model_name: ModelNameOption,
    metric: Annotated[
        str, typer.Option(help="Compare by this metric; higher is better.")
    ] = "valid_accuracy",
    version: Annotated[
        int | None, typer.Option(min=1, help="Promote this version, not the best one.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a better champion too.")] = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by run()
) -> None:
    """Point alias champion at the best version by a metric; a tie keeps the present champion."""
    settings = load_settings()
    client = connect(settings)
    with explained(settings, f"alias {CHAMPION} was not moved"):
        aliases = find_model(client, model_name).aliases
        candidates = read_candidates(client, model_name)
        print_table(candidates, metric, aliases)
        present = aliases.get(CHAMPION)
        champion = next((c for c in candidates if present and c.number == int(present)), None)
        chosen = choose(candidates, metric, version, champion, model_name)
        if verdict := why_not(chosen, champion, metric, force=force):
            print(verdict)
            return
        client.set_registered_model_alias(model_name, CHAMPION, str(chosen.number))

    before = f" (was version {champion.number})" if champion else ""
    print(f"{CHAMPION}: {model_name} version {chosen.number}{before}")
    print(f"{metric} : {chosen.value(metric)}")


def read_candidates(client: "MlflowClient", model_name: str) -> list[Candidate]:
    """Read all versions of a model, oldest first, each with the metrics of its run."""
    versions = versions_of(client, model_name)
    with ThreadPoolExecutor(max_workers=8) as pool:  # one request per run
        metrics = pool.map(lambda v: _metrics_of(client, v.run_id), versions)
        return [
            Candidate(int(v.version), v.tags.get(HASH_TAG), v.tags.get(ROWS_TAG), logged)
            for v, logged in zip(versions, metrics, strict=True)
        ]


def choose(
    candidates: list[Candidate],
    metric: str,
    version: int | None,
    champion: Candidate | None,
    model_name: str,
) -> Candidate:
    """Return the asked version, or the best by `metric`: of equals the champion, or the newest.

    Raises:
        WorkFailedError: no such version, or no finite value of the metric to compare.
    """
    known = sorted({name for c in candidates for name in c.metrics})
    if metric not in known:
        raise WorkFailedError(
            f"no version of {model_name!r} has metric {metric!r}; there is "
            f"{', '.join(known) or 'none'}"
        )
    if version is not None:
        chosen = next((c for c in candidates if c.number == version), None)
        if chosen is None:
            raise unknown_version(model_name, version, [c.number for c in candidates])
        if not math.isfinite(chosen.value(metric)):
            raise WorkFailedError(
                f"version {version} of {model_name!r} has {chosen.value(metric)} as {metric}, "
                "which compares with nothing; choose another --metric or --version"
            )
        return chosen
    comparable = [c for c in candidates if math.isfinite(c.value(metric))]
    if not comparable:
        raise WorkFailedError(
            f"no version of {model_name!r} has a finite {metric}; choose another --metric"
        )
    return max(comparable, key=lambda c: (c.value(metric), c == champion, c.number))


def why_not(
    chosen: Candidate, champion: Candidate | None, metric: str, *, force: bool
) -> str | None:
    """Say why the champion stays, or return None where `chosen` is to replace it.

    Raises:
        WorkFailedError: the champion is better, and nobody forced it.
    """
    if champion is None:
        return None
    if chosen == champion:
        return f"{CHAMPION} stays version {champion.number} ({metric} {champion.value(metric)})"
    ours, theirs = chosen.value(metric), champion.value(metric)
    if not math.isfinite(theirs):
        log.warning(
            "%s version %d has no %s to compare with: version %d, which has, takes its place",
            CHAMPION,
            champion.number,
            metric,
            chosen.number,
        )
        return None
    if chosen.data_hash != champion.data_hash:
        log.warning(
            "versions %d and %d were validated on different rows: a small difference in %s may "
            "be the data's",
            chosen.number,
            champion.number,
            metric,
        )
    if force or ours > theirs:
        return None
    if ours == theirs:
        return (
            f"{CHAMPION} stays version {champion.number}: version {chosen.number} is as good "
            f"({metric} {ours}); --force moves it"
        )
    raise WorkFailedError(
        f"version {chosen.number} ({metric} {ours}) is not better than {CHAMPION} version "
        f"{champion.number} ({metric} {theirs}); --force moves the alias all the same"
    )


def print_table(candidates: list[Candidate], metric: str, aliases: dict[str, str]) -> None:
    """Print each version with its metric, the first digits of its data's hash, and its aliases."""
    table = Table("version", metric, "rows", "data", "alias")
    for candidate in candidates[-20:]:  # the newest; nobody reads a longer table
        names = [name for name, number in aliases.items() if int(number) == candidate.number]
        value = candidate.metrics.get(metric)
        table.add_row(
            str(candidate.number),
            "-" if value is None else f"{value:.5f}",
            candidate.data_rows or "-",
            (candidate.data_hash or "-")[:12],
            " ".join(sorted(names)),
        )
    Console().print(table)
    if len(candidates) > 20:
        print(f"({len(candidates) - 20} older versions not shown)")


def _metrics_of(client: "MlflowClient", run_id: str | None) -> dict[str, float]:
    from mlflow.exceptions import MlflowException

    try:
        return dict(client.get_run(run_id).data.metrics) if run_id else {}
    except MlflowException as exc:  # the run was deleted for good; the version is still listed
        if exc.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}


if __name__ == "__main__":
    run(promote_model)
