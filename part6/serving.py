"""The model that answers now, and how another one takes its place."""

import asyncio
import os
import ssl
import sys
from functools import cache

import httpx2
import structlog

from part6 import metrics
from part6.command import WorkFailedError
from part6.manifest import Manifest, read_manifest
from part6.messages import Reloaded
from part6.served_model import ServedModel, load_served_model
from part6.settings import Settings

log = structlog.get_logger()

ASK_SECONDS = 5.0
AGAIN_SECONDS = 30.0  # after a failed download, which costs seconds of CPU time
ALIAS_PATH = "/api/2.0/mlflow/registered-models/alias"


class DownloadFailedError(WorkFailedError):
    """The version that is wanted could not be downloaded, or cannot serve."""


@cache
def _trusted() -> ssl.SSLContext:
    """Read the authorities once: it takes tens of milliseconds, in which nobody is answered."""
    return httpx2.create_ssl_context()


class Serving:
    """Holds the served model and follows the alias in the registry.

    A request reads `model` once and keeps what it got: a swap is one assignment, and who is
    answering at that moment goes on with the version it began with.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        login = (
            settings.mlflow_tracking_username,
            settings.mlflow_tracking_password.get_secret_value(),
        )
        self._login = login if all(login) else None
        self._one_at_a_time = asyncio.Lock()
        self.model: ServedModel | None = None
        self.why_none = "the server is starting"

    async def load(self) -> None:
        """Load what lies in the model folder; without a usable model the server is not ready."""
        try:
            self._swap(await asyncio.to_thread(load_served_model, self._settings.model_dir))
        except WorkFailedError as exc:
            self.why_none = str(exc)
            log.error("not ready", reason=str(exc))

    async def reload(self) -> Reloaded:
        """Fetch the version that the alias names, and let it answer from now on.

        Raises:
            WorkFailedError: no registry, a failed download, or a model that cannot serve. What
                was served before goes on.
        """
        async with self._one_at_a_time:
            before = self.model
            try:
                if (model := await self._wanted()) is not before:
                    self._swap(model)
            except WorkFailedError as exc:
                metrics.RELOADS.labels("failed").inc()
                if before is None:
                    self.why_none = str(exc)
                raise
        changed = model is not before
        metrics.RELOADS.labels("swapped" if changed else "unchanged").inc()
        return Reloaded(
            changed=changed,
            model_version=model.manifest.version,
            previous_version=before.manifest.version if before else None,
        )

    async def watch(self, every: float) -> None:
        """Reload every `every` seconds; what goes wrong is said once, not each time."""
        said = ""
        while True:
            pause = every
            try:
                await self.reload()
                if said:
                    log.info("the alias is followed again")
                said = ""
            except WorkFailedError as exc:
                if str(exc) != said:
                    log.error("the alias cannot be followed", reason=str(exc))
                said = str(exc)
                if isinstance(exc, DownloadFailedError):
                    pause = max(every, AGAIN_SECONDS)
            await asyncio.sleep(pause)

    def _swap(self, model: ServedModel) -> None:
        self.model = model
        manifest = model.manifest
        metrics.MODEL.clear()
        metrics.MODEL.labels(manifest.name, manifest.version, model.runtime).set(1)
        log.info("serving", model=manifest.name, version=manifest.version, runtime=model.runtime)

    async def _wanted(self) -> ServedModel:
        """Get the version that is followed: the one served now, that of the folder, or a new one.

        A folder that is damaged is mended by the download of the same version.
        """
        folder = self._settings.model_dir
        try:
            there = await asyncio.to_thread(read_manifest, folder)
        except WorkFailedError:  # none, or one that nobody can read
            there = None
        known = self.model.manifest if there is None and self.model is not None else there
        name, alias = self._followed(known)
        choice = ["--model-name", name]
        if alias is not None:
            wanted = await self._ask_version(name, alias)
            choice += ["--alias", alias]
        else:
            assert known is not None  # only a download pins a version
            wanted = known.version
            choice += ["--version", str(wanted)]
        if known is None or known.onnx_wanted:
            choice += ["--onnx"]
        damage = ""
        if there is not None and (there.name, there.version, there.alias) == (name, wanted, alias):
            if self.model is not None and self.model.manifest == there:
                return self.model
            try:
                return await asyncio.to_thread(load_served_model, folder)
            except WorkFailedError as exc:
                damage = f"{exc}; the server tried to: "
        await self._download(choice, damage)
        return await asyncio.to_thread(load_served_model, folder)

    def _followed(self, known: Manifest | None) -> tuple[str, str | None]:
        """Name the model and the alias to follow; None: the very version that was asked for.

        What is set counts, then what was downloaded. But whoever downloaded a version by its
        number wanted that one, whatever is set for all the others.
        """
        settings = self._settings
        if known is None:
            return settings.model_name, settings.model_alias
        if known.alias is None:
            return known.name, None
        is_set = settings.model_fields_set
        return (
            settings.model_name if "model_name" in is_set else known.name,
            settings.model_alias if "model_alias" in is_set else known.alias,
        )

    async def _ask_version(self, name: str, alias: str) -> int:
        """Ask the registry by HTTP: importing MLflow would take seconds and 200 MB."""
        uri = self._settings.mlflow_tracking_uri
        try:
            async with httpx2.AsyncClient(
                base_url=uri, auth=self._login, timeout=ASK_SECONDS, verify=_trusted()
            ) as client:
                answer = await client.get(ALIAS_PATH, params={"name": name, "alias": alias})
        except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
            raise WorkFailedError(
                f"no MLflow at {uri} ({type(exc).__name__}); start it with `uv run course up "
                "part6`, or with compose, or correct MLFLOW_TRACKING_URI"
            ) from exc
        except (ImportError, OSError, ValueError) as exc:  # of a proxy, a certificate, a port
            raise WorkFailedError(
                f"MLflow at {uri} cannot be asked ({type(exc).__name__}: {exc})"
            ) from exc
        try:
            said = answer.json()
            if answer.status_code in {httpx2.codes.BAD_REQUEST, httpx2.codes.NOT_FOUND}:
                raise WorkFailedError(
                    f"MLflow at {uri} knows no {name!r} with alias {alias!r} "
                    f"({said['message']}); set the alias on MLflow's page of the model, or "
                    "MODEL_ALIAS to another one"
                )
            if answer.is_error:
                raise WorkFailedError(f"MLflow at {uri} answers HTTP {answer.status_code}")
            return int(said["model_version"]["version"])
        except (LookupError, TypeError, ValueError) as exc:
            raise WorkFailedError(
                f"what answers at {uri} is not MLflow (HTTP {answer.status_code})"
            ) from exc

    async def _download(self, choice: list[str], why: str) -> None:
        """Download in a process of its own: what it imports and uses is gone with it."""
        settings = self._settings
        environ = {
            "MODEL_DIR": str(settings.model_dir),
            "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
            "MLFLOW_WAIT_SECONDS": str(settings.mlflow_wait_seconds),
        }
        if self._login:
            environ["MLFLOW_TRACKING_USERNAME"], environ["MLFLOW_TRACKING_PASSWORD"] = self._login
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "part6.download_model",
                *choice,
                env=os.environ | environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as exc:
            raise DownloadFailedError(
                f"{why}the download could not be started: {exc.strerror}"
            ) from exc
        try:
            async with asyncio.timeout(settings.model_download_seconds):
                _, said = await process.communicate()
        except TimeoutError as exc:
            raise DownloadFailedError(
                f"{why}the download took over {settings.model_download_seconds:g} s; give it more "
                "with MODEL_DOWNLOAD_SECONDS"
            ) from exc
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        *lines, last = said.decode(errors="replace").strip().split("\n")
        if process.returncode != 0:
            raise DownloadFailedError(why + (last.removeprefix("error: ") or "the download failed"))
        for line in (*lines, last):  # a warning may be among them
            log.info("downloaded", said=line)
