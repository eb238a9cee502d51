"""The chat page in a browser, on a real chat server and a model server that does as it is told."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect, sync_playwright

from tests.conftest import chromium, clean_environment
from tests.part7.servers import PART, Chat, ChatProcess, Fake, chat_process, free_port
from tests.waiting import PATIENCE, wait_for

expect.set_options(timeout=PATIENCE * 1000)
SLOWLY = {"rate": 20.0, "tokens": 400}  # a reply that does not end while a test looks at it
QUICKLY = {"rate": 0.0, "tokens": 8}


def demo_environment(**variables: str) -> dict[str, str]:
    """An environment that holds these settings of the page and no others."""
    ours = ("DEMO_", "CHAT_", "GRADIO_")
    return {k: v for k, v in clean_environment().items() if not k.startswith(ours)} | variables


@dataclass
class Demo:
    """The page's server as a process, which can be started again."""

    chat_url: str
    log: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Run it as the lesson does, and wait until it is ready."""
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            process = self.process = subprocess.Popen(
                [sys.executable, "-m", "demo"],
                cwd=PART,
                env=demo_environment(
                    CHAT_API_URL=self.chat_url,
                    DEMO_PORT=str(self.port),
                    PYTHONWARNINGS="",  # Gradio's own are many
                ),
                stdout=output,
                stderr=output,
            )
        wait_for(
            lambda: (
                b"The page is at" in self.log.read_bytes()[before:] or process.poll() is not None
            ),
            self.log.read_text,
        )
        assert process.poll() is None, self.log.read_text()

    def stop(self) -> None:
        """End it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE)


@pytest.fixture(scope="session")
def model() -> Iterator[Fake]:
    """The model server."""
    fake = Fake()
    yield fake
    fake.stop()


@pytest.fixture(scope="session")
def server(model: Fake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatProcess]:
    """The chat server as a process, on a database file."""
    folder = tmp_path_factory.mktemp("chat")
    with chat_process(model, f"sqlite:///{folder / 'chat.db'}", folder) as running:
        yield running


@pytest.fixture(scope="session")
def demo(server: ChatProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The page's server."""
    log = tmp_path_factory.mktemp("demo") / "demo.log"
    demo = Demo(f"http://127.0.0.1:{server.port}", log, free_port())
    demo.start()
    yield demo
    demo.stop()
    assert "Traceback" not in log.read_text()


# Not for the session: as long as Playwright runs, no test of this thread can use asyncio.run().
@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    """The system's Chromium; its cache, which makes pages quick, is for all tests of a file."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield running.new_context(viewport={"width": 1280, "height": 800})
        running.close()


@dataclass
class Desk:
    """Somebody at the page."""

    page: Page
    demo: Demo

    def open(self) -> None:
        """Go to the page, and wait until it has found its server."""
        self.page.goto(self.demo.address)
        expect(self.status).to_contain_text("Ready")

    @property
    def status(self) -> Locator:
        """The line that says how the server is."""
        return self.page.locator("#status")

    @property
    def replies(self) -> Locator:
        """What the model said."""
        return self.page.get_by_test_id("bot")

    @property
    def said(self) -> Locator:
        """What the user said."""
        return self.page.get_by_test_id("user")

    @property
    def box(self) -> Locator:
        """Where one writes."""
        return self.page.get_by_placeholder("Message; Enter")

    @property
    def listed(self) -> Locator:
        """The conversations."""
        return self.page.locator("#conversations label")

    @property
    def chosen(self) -> Locator:
        """The conversation that is open."""
        return self.page.locator("#conversations label.selected")

    def button(self, name: str) -> Locator:
        """A button with exactly this name."""
        return self.page.get_by_role("button", name=name, exact=True)

    def say(self, text: str) -> None:
        """Write and press Enter."""
        self.box.fill(text)
        self.box.press("Enter")

    def say_and_wait(self, text: str) -> None:
        """The same, until the reply is whole."""
        count = self.replies.count()
        self.say(text)
        expect(self.replies).to_have_count(count + 1)
        expect(self.button("Send")).to_be_visible()

    def has_begun(self) -> None:
        """Text of a reply is there, and more is coming."""
        expect(self.replies.last).to_contain_text("river takes")
        expect(self.button("Stop")).to_be_visible()


@dataclass(frozen=True)
class Kept:
    """What the chat server keeps, asked at its API."""

    chat: Chat

    @property
    def newest(self) -> int:
        """Id of the newest conversation."""
        return int(self.chat.get("/conversations", limit=1)["conversations"][0]["id"])

    def messages(self, conversation: int, show: str = "path") -> list[Any]:
        """The messages of a conversation."""
        found: list[Any] = self.chat.get(f"/conversations/{conversation}", show=show)["messages"]
        return found

    def reply(self) -> Any:
        """The last message of the newest conversation."""
        return self.messages(self.newest)[-1]


@pytest.fixture
def kept(server: ChatProcess) -> Kept:
    """What the chat server keeps."""
    return Kept(server)


Sit = Callable[[], Desk]


@contextmanager
def sitting(browser: BrowserContext, demo: Demo) -> Iterator[Desk]:
    """Somebody at a page that is as new; it must not complain of itself."""
    complaints: list[str] = []
    page = browser.new_page()
    page.on("pageerror", lambda exc: complaints.append(str(exc)))
    desk = Desk(page, demo)
    yield desk
    desk.page.evaluate("localStorage.clear()")
    desk.page.close()
    assert complaints == []


@pytest.fixture
def sit(browser: BrowserContext, demo: Demo, model: Fake) -> Iterator[Sit]:
    """A function that opens the page; the model is quick at first."""
    model.does(**QUICKLY)
    with ExitStack() as open_pages:

        def start() -> Desk:
            desk = open_pages.enter_context(sitting(browser, demo))
            desk.open()
            return desk

        yield start
    model.does(**QUICKLY)


@pytest.fixture
def desk(sit: Sit) -> Desk:
    """Somebody at the page."""
    return sit()
