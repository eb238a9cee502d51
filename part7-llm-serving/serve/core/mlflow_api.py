"""The few requests that the chat server sends to MLflow: https://mlflow.org/docs/latest/rest-api.html."""

from typing import Any

import aiohttp
import orjson

from serve.core.config import Settings

EXPERIMENT = "chat"
ANSWER_SECONDS = 10.0  # it takes its time for the first one
US = "chat-server"  # the source of assessments that are ours to replace
V2, V3 = "/api/2.0/mlflow", "/api/3.0/mlflow"


class AwayError(Exception):
    """It does not answer, or not as MLflow does, or says that it cannot now."""

    def __init__(self, text: str, *, answered: bool = False) -> None:
        super().__init__(text)
        self.answered = answered  # or it may have been busy with the request until we gave up


class RefusedError(Exception):
    """It will not take this, however often it is sent."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class MlflowApi:
    """A client; every method may raise AwayError and RefusedError."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.mlflow_tracking_uri.rstrip("/")
        user = settings.mlflow_tracking_username
        password = settings.mlflow_tracking_password.get_secret_value()
        headers = {"Content-Type": "application/json"}
        if user:
            headers["Authorization"] = aiohttp.encode_basic_auth(user, password, "utf-8")
        self._session = aiohttp.ClientSession(
            headers=headers, timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        )
        self._experiment: str | None = None

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def send(self, spans: bytes) -> None:
        """Store spans, encoded as OTLP has them."""
        headers = {
            "Content-Type": "application/x-protobuf",
            "x-mlflow-experiment-id": self._experiment or await self._find_experiment(),
        }
        try:
            await self._ask("POST", "/v1/traces", data=spans, headers=headers)
        except RefusedError:
            self._experiment = None  # it may have been removed
            raise

    async def answers(self) -> bool:
        """Whether it answers what costs nothing."""
        try:
            await self._find_experiment()
        except (AwayError, RefusedError):
            return False
        return True

    async def remove_assessments(self, trace_id: str) -> None:
        """Remove those of a trace that came from here."""
        place = f"{V3}/traces/{trace_id}"
        known = await self._ask("GET", place)
        try:
            ours = [
                str(each["assessment_id"])
                for each in known["trace"]["trace_info"].get("assessments") or []
                if each["source"]["source_id"] == US
            ]
        except (LookupError, TypeError, AttributeError) as exc:
            raise self._no_mlflow() from exc
        for each in ours:
            await self._ask("DELETE", f"{place}/assessments/{each}")

    async def assess(self, trace_id: str, assessment: dict[str, Any]) -> None:
        """Attach an assessment to a trace."""
        source = {"source": {"source_type": "HUMAN", "source_id": US}}
        body = orjson.dumps({"assessment": assessment | source})
        await self._ask("POST", f"{V3}/traces/{trace_id}/assessments", data=body)

    async def _find_experiment(self) -> str:
        """The id of the experiment, which is made, or brought back, if it is not there."""
        try:
            found = await self._ask(
                "GET", f"{V2}/experiments/get-by-name", params={"experiment_name": EXPERIMENT}
            )
        except RefusedError as exc:
            if exc.status != 404:
                raise
            found = {"experiment": await self._make_experiment()}
        try:
            self._experiment = str(found["experiment"]["experiment_id"])
            deleted = found["experiment"].get("lifecycle_stage") == "deleted"
        except (LookupError, TypeError, AttributeError) as exc:
            raise self._no_mlflow() from exc
        if deleted:  # it would take traces, and nobody would see them
            body = orjson.dumps({"experiment_id": self._experiment})
            await self._ask("POST", f"{V2}/experiments/restore", data=body)
        return self._experiment

    async def _make_experiment(self) -> Any:
        try:
            made = orjson.dumps({"name": EXPERIMENT})
            return await self._ask("POST", f"{V2}/experiments/create", data=made)
        except RefusedError as exc:  # no MLflow, or another server was quicker
            raise AwayError(str(exc)) from exc

    async def _ask(self, method: str, path: str, **how: Any) -> Any:
        """What it answers to one request, read as JSON if it is any."""
        try:
            async with self._session.request(method, f"{self._url}{path}", **how) as got:
                said = await got.read()
        except TimeoutError as exc:
            raise AwayError(f"{self._url}: no answer in time", answered=True) from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:  # ValueError: no such host name
            raise AwayError(f"{self._url}: {str(exc) or type(exc).__name__}") from exc
        text = f"{self._url}{path}: HTTP {got.status}: {said[:300].decode(errors='replace')}"
        if got.status in {401, 403}:
            raise AwayError(f"{text}; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
        if got.status in {429, 500, 502, 503, 504}:
            raise AwayError(text, answered=True)
        if got.status >= 400:
            raise RefusedError(got.status, text)
        if got.content_type != "application/json":
            return None
        try:
            return orjson.loads(said)
        except orjson.JSONDecodeError as exc:
            raise self._no_mlflow() from exc

    def _no_mlflow(self) -> AwayError:
        return AwayError(f"what answers at {self._url} is no MLflow")
