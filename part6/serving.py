"""The model that answers now, and how another one takes its place."""

import asyncio
import ssl
import sys
from functools import cache

import httpx2
import structlog

from part6 import metrics
from part6.command import WorkFailedError
from part6.manifest import Manifest, NoModelError, read_manifest
from part6.messages import Reloaded
from part6.served_model import ServedModel, load_served_model
from part6.settings import Settings

log = structlog.get_logger()

ASK_SECONDS = 5.0
DOWNLOAD_SECONDS = 120.0
ALIAS_PATH = "/api/2.0/mlflow/registered-models/alias"


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
                manifest = await self._fetch()
                if before is None or manifest != before.manifest:
                    folder = self._settings.model_dir
                    self._swap(await asyncio.to_thread(load_served_model, folder))
            except WorkFailedError as exc:
                metrics.RELOADS.labels("failed").inc()
                if before is None:
                    self.why_none = str(exc)
                raise
        assert self.model is not None
        changed = self.model is not before
        metrics.RELOADS.labels("swapped" if changed else "unchanged").inc()
        return Reloaded(
            changed=changed,
            model_version=self.model.manifest.version,
            previous_version=before.manifest.version if before else None,
        )

    async def watch(self, every: float) -> None:
        """Reload every `every` seconds; what goes wrong is said once, not each time."""
        said = ""
        while True:
            try:
                await self.reload()
                said = ""
            except WorkFailedError as exc:
                if str(exc) != said:
                    log.error("the alias cannot be followed", reason=str(exc))
                said = str(exc)
            await asyncio.sleep(every)

    def _swap(self, model: ServedModel) -> None:
        self.model = model
        manifest = model.manifest
        metrics.MODEL.clear()
        metrics.MODEL.labels(manifest.name, manifest.version, model.runtime).set(1)
        log.info("serving", model=manifest.name, version=manifest.version, runtime=model.runtime)

    async def _fetch(self) -> Manifest:
        """See to it that the version that is followed lies in the model folder."""
        folder = self._settings.model_dir
        try:
            there = await asyncio.to_thread(read_manifest, folder)
        except NoModelError:
            there = None
        if there is not None and there.alias is None:
            return there  # somebody asked for this very version: no alias moves it
        name = there.name if there else self._settings.model_name
        alias = there.alias if there and there.alias else self._settings.model_alias
        wanted = await self._ask_version(name, alias)
        if there is None or there.version != wanted:
            options = ["--onnx"] if there is None or there.onnx_wanted else []
            await self._download("--model-name", name, "--alias", alias, *options)
        return await asyncio.to_thread(read_manifest, folder)

    async def _ask_version(self, name: str, alias: str) -> int:
        """Ask the registry by HTTP: importing MLflow would take seconds and 200 MB."""
        uri = self._settings.mlflow_tracking_uri
        try:
            async with httpx2.AsyncClient(
                base_url=uri, timeout=ASK_SECONDS, verify=_trusted()
            ) as client:
                answer = await client.get(ALIAS_PATH, params={"name": name, "alias": alias})
        except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
            raise WorkFailedError(f"no MLflow at {uri} ({type(exc).__name__})") from exc
        if answer.status_code == httpx2.codes.NOT_FOUND:
            raise WorkFailedError(f"MLflow at {uri} knows no {name!r} with alias {alias!r}")
        if answer.is_error:
            raise WorkFailedError(f"MLflow at {uri} answers HTTP {answer.status_code}")
        try:
            return int(answer.json()["model_version"]["version"])
        except (LookupError, TypeError, ValueError) as exc:
            raise WorkFailedError(f"what answers at {uri} is not MLflow") from exc

    async def _download(self, *options: str) -> None:
        """Download in a process of its own: what it imports and uses is gone with it."""
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "part6.download_model",
                *options,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as exc:
            raise WorkFailedError(f"the download could not be started: {exc.strerror}") from exc
        try:
            async with asyncio.timeout(DOWNLOAD_SECONDS):
                _, said = await process.communicate()
        except TimeoutError as exc:
            raise WorkFailedError(f"the download took over {DOWNLOAD_SECONDS:g} s") from exc
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            last = said.decode(errors="replace").strip().rpartition("\n")[2]
            raise WorkFailedError(last.removeprefix("error: ") or "the download failed")
