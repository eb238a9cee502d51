"""`tutor`: the model server of part 7 that needs no GPU: a search over the lessons."""

import json
import sys
import urllib.request

from course.home import repository
from course.services.base import NotReadyError, Ports, Service


class Tutor(Service):
    """An OpenAI-compatible server that answers questions about the course."""

    name = "tutor"

    @property
    def preferred_port(self) -> int:
        """TUTOR_PORT."""
        return self.config.tutor_port

    def prepare(self) -> None:
        """Nothing: it reads the lessons."""

    def command(self, ports: Ports) -> list[str]:  # noqa: ARG002 - part of the interface
        """The command of the lesson."""
        return [sys.executable, "-m", "tutor"]

    def environment(self, ports: Ports) -> dict[str, str]:
        """Its port, and the folder that its package is in."""
        return {
            "TUTOR_PORT": str(ports[self.name]),
            "PYTHONPATH": str(repository() / "part7-llm-serving"),
        }

    def probe(self, ports: Ports) -> None:
        """Ask for its health."""
        address = f"http://127.0.0.1:{ports[self.name]}/health"
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                json.load(answer)["passages"]
        except (OSError, ValueError, KeyError) as exc:
            raise NotReadyError(str(exc)) from exc

    def address(self, port: int) -> str:
        """The base of OpenAI's protocol."""
        return f"http://localhost:{port}/v1"

    def settings(self, port: int) -> dict[str, str]:
        """TUTOR_PORT, and LLM_BASE_URL unless it points to another model server."""
        settings = {"TUTOR_PORT": str(port)}
        if not self.config.has_own_model:
            settings["LLM_BASE_URL"] = self.address(port)
        return settings
