"""The tutor as a process: how it starts, keeps its pace, notices who leaves, and ends."""

import itertools
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.part7.tutor.conftest import PART, Running, request, run_tutor, running_tutor

PATH = "/v1/chat/completions"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_tutor(tmp_path_factory.mktemp("tutor"), TUTOR_TOKENS_PER_SECOND="50") as tutor:
        yield tutor


def test_tokens_come_at_the_pace_that_is_set(running: Running) -> None:
    begun = time.monotonic()
    with running.client.stream("POST", PATH, json=request(stream=True, max_tokens=25)) as answer:
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]

    assert len(lines) == 1 + 25 + 1 + 1
    assert time.monotonic() - begun >= 24 / 50  # the first one comes at once


def test_each_request_has_a_line_without_its_messages(running: Running) -> None:
    answer = running.client.post(
        PATH, json=request("secret word"), headers={"X-Request-Id": "of-a-test"}
    )
    line = running.line_of("of-a-test")

    assert line["event"] == "answered"
    assert (line["method"], line["path"], line["status"]) == ("POST", PATH, 200)
    assert line["completion_tokens"] == answer.json()["usage"]["completion_tokens"]
    assert line["finish"] == "stop"
    assert line["milliseconds"] > 0
    assert "secret" not in running.log.read_text(encoding="utf-8")


def test_the_first_line_says_what_it_has_read(running: Running) -> None:
    assert running.lines()[0]["event"] == "ready"
    assert running.lines()[0]["passages"] == running.client.get("/health").json()["passages"]


def test_the_work_ends_when_the_client_goes_away(running: Running) -> None:
    headers = {"X-Request-Id": "goes-away"}
    with running.client.stream("POST", PATH, json=request(stream=True), headers=headers) as answer:
        list(itertools.islice(answer.iter_lines(), 6))  # three chunks, an empty line after each
    line = running.line_of("goes-away")

    assert line["finish"] == "disconnected"
    assert 1 <= line["completion_tokens"] < 100  # of some 280, which would take six seconds


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_though_a_stream_is_running(
    tmp_path: Path, sent: signal.Signals
) -> None:
    # One token in ten seconds: a pause has to be interrupted.
    with (
        running_tutor(tmp_path, TUTOR_TOKENS_PER_SECOND="0.1") as tutor,
        tutor.client.stream("POST", PATH, json=request(stream=True)) as answer,
    ):
        lines = answer.iter_lines()
        list(itertools.islice(lines, 4))
        begun = time.monotonic()
        tutor.process.send_signal(sent)
        status = tutor.process.wait(30)
        took = time.monotonic() - begun
        rest = list(lines)

    assert status == (-signal.SIGTERM if sent == signal.SIGTERM else 0)
    assert took < 5
    assert '"the server is stopping' in rest[0]
    assert "Traceback" not in tutor.log.read_text(encoding="utf-8")
    assert tutor.lines()[-1]["finish"] == "stopped"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TUTOR_PORT", "eighty"),
        ("TUTOR_PORT", "70000"),
        ("TUTOR_TOKENS_PER_SECOND", "-1"),
        ("TUTOR_TOKENS_PER_SECOND", "inf"),
        ("TUTOR_LESSONS", "no/such/folder"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_line(name: str, value: str) -> None:
    done = run_tutor(variables={name: value})

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {name} is '{value}': ")
    assert "; set it to " in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_empty_folder_is_one_line(tmp_path: Path) -> None:
    done = run_tutor(variables={"TUTOR_LESSONS": str(tmp_path)})

    assert done.returncode == 2
    assert done.stderr.startswith(f"error: TUTOR_LESSONS is '{tmp_path}': there is no README.md")
    assert done.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = run_tutor(variables={"TUTOR_PORT": port})

    assert done.returncode == 1
    assert done.stderr.startswith(f"error: cannot listen on 127.0.0.1 port {port}: ")
    assert "TUTOR_PORT" in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_names_the_settings() -> None:
    done = run_tutor("--help")

    assert done.returncode == 0
    assert "TUTOR_PORT" in done.stdout
    assert done.stderr == ""


def test_settings_are_read_from_a_file_here_or_one_folder_up(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / ".env").write_text("TUTOR_PORT=up\nOTHER=1\n", encoding="utf-8")
    variables = {"PYTHONPATH": str(PART)}
    above = run_tutor(cwd=folder, variables=variables)
    (folder / ".env").write_text("TUTOR_PORT=here\n", encoding="utf-8")
    here = run_tutor(cwd=folder, variables=variables)
    shell = run_tutor(cwd=folder, variables=variables | {"TUTOR_PORT": "shell"})
    (folder / ".env").write_bytes("# 내 설정\n".encode("cp949"))
    spoiled = run_tutor(cwd=folder, variables=variables)

    assert "'up'" in above.stderr
    assert "'here'" in here.stderr
    assert "'shell'" in shell.stderr
    assert ".env in this folder or the one above is not in UTF-8" in spoiled.stderr
    assert {each.returncode for each in (above, here, shell, spoiled)} == {2}
