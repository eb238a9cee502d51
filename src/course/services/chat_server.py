"""`chat-server`: the chat server of part 7, on SQLite, asking the tutor or LLM_BASE_URL."""

import sys
import urllib.request

from course.home import repository
from course.services.base import NotReadyError, Ports, Service
from course.services.mlflow_server import MlflowServer
from course.services.tutor import Tutor


class ChatServer(Service):
    """Conversations with a model; its database is a file among the data."""

    name = "chat-server"
    needs = (Tutor.name,)
    stop_seconds = 20.0  # running replies have ten to come to their end, their readers five more

    @property
    def preferred_port(self) -> int:
        """CHAT_PORT."""
        return self.config.chat_port

    def prepare(self) -> None:
        """Make the folder of the database."""
        self.home.data(self.name).mkdir(parents=True, exist_ok=True)

    def command(self, ports: Ports) -> list[str]:  # noqa: ARG002 - part of the interface
        """The command of the lesson."""
        return [sys.executable, "-m", "serve.main"]

    def environment(self, ports: Ports) -> dict[str, str]:
        """Where it listens, what it asks, where it keeps everything."""
        config = self.config
        tutor = f"http://localhost:{ports[Tutor.name]}/v1"
        # Which it does not need: it looks for it as long as it is not there.
        mlflow = f"http://localhost:{ports.get(MlflowServer.name, config.mlflow_port)}"
        return {
            "CHAT_PORT": str(ports[self.name]),
            "CHAT_API_KEYS": config.chat_api_keys,
            "LLM_BASE_URL": config.llm_base_url if config.has_own_model else tutor,
            "MLFLOW_TRACKING_URI": config.mlflow_tracking_uri if config.has_own_mlflow else mlflow,
            "DATABASE_URL": f"sqlite:///{self.home.data(self.name) / 'chat.db'}",
            "PYTHONPATH": str(repository() / "part7-llm-serving"),
        }

    def probe(self, ports: Ports) -> None:
        """Ask whether it is ready."""
        address = f"http://127.0.0.1:{ports[self.name]}/ready"
        try:
            with urllib.request.urlopen(address, timeout=5):
                pass
        except OSError as exc:  # URLError is one
            raise NotReadyError(str(exc)) from exc

    def address(self, port: int) -> str:
        """The page that documents it."""
        return f"http://localhost:{port}/docs"

    def settings(self, port: int) -> dict[str, str]:
        """CHAT_PORT, and CHAT_API_URL for clients."""
        return {"CHAT_PORT": str(port), "CHAT_API_URL": f"http://localhost:{port}"}
