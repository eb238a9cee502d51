"""Which version of a registered model is meant: that of a run, of a number or of an alias."""

import re
from typing import TYPE_CHECKING

from part6.command import BadUsageError, WorkFailedError
from part6.registry import find_model, unknown_version, versions_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def check_choice(run_id: str | None, version: int | None, alias: str | None) -> None:
    """Raise BadUsageError unless at most one is given and it has a possible form."""
    if sum(choice is not None for choice in (run_id, version, alias)) > 1:
        raise BadUsageError("--run-id, --version and --alias exclude each other; give one of them")
    if run_id is not None and not re.fullmatch(r"[0-9a-f]{32}", run_id):
        raise BadUsageError(f"--run-id is {run_id!r}: a run id has 32 hexadecimal digits")
    if alias is not None and not re.fullmatch(r"[\w-]{1,255}", alias):
        raise BadUsageError(
            f"--alias is {alias!r}: an alias has letters, digits, dashes and underscores only"
        )


def find_version(
    client: "MlflowClient",
    model_name: str,
    run_id: str | None,
    version: int | None,
    alias: str | None,
) -> "ModelVersion":
    """Find the version that exactly one of run, number and alias names.

    Raises:
        WorkFailedError: there is none; the message lists what there is.
    """
    aliases: dict[str, str] = find_model(client, model_name).aliases
    versions = versions_of(client, model_name)
    if run_id is not None:
        # Registered twice, a run has two versions; the newer number stands for both.
        found = next((v for v in reversed(versions) if v.run_id == run_id), None)
        if found is None:
            there = ", ".join(f"{v.run_id} (version {v.version})" for v in versions[-3:])
            raise WorkFailedError(
                f"run {run_id} made no version of {model_name!r}; the newest are from {there}"
            )
        return found
    if version is None:
        if alias not in aliases:
            there = ", ".join(f"{name} (version {aliases[name]})" for name in sorted(aliases))
            raise WorkFailedError(
                f"{model_name!r} has no alias {alias!r} (there: {there or 'none'}); set it on "
                "MLflow's page of the model, or name a version with --version"
            )
        version = int(aliases[alias])
    found = next((v for v in versions if int(v.version) == version), None)
    if found is None:
        raise unknown_version(model_name, version, [int(v.version) for v in versions])
    return found
