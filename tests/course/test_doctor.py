"""`course doctor`: each finding names what it found and what to do."""

import re
import socket

import pytest

from course import doctor
from tests.course.conftest import HOLDER, Course


def test_a_good_machine_passes(course: Course) -> None:
    printed = course.ok("doctor")
    for subject in ("Python", "architecture", "disk", "user", "port", "environment", "Docker"):
        assert subject in printed
    assert "\nnothing is in the way" in printed


def test_a_held_port_is_named_with_its_holder(course: Course) -> None:
    port = int(course.variables["POSTGRES_PORT"])
    with socket.create_server(("127.0.0.1", port)):
        printed = course.ok("doctor")
    assert f"! port {port}" in printed
    assert f"held by {HOLDER}" in printed
    assert "gives postgres-server another port" in printed


def test_leftover_variables_are_named_and_secrets_are_not_shown(course: Course) -> None:
    course.variables["MLFLOW_TRACKING_URI"] = "http://old:5000"
    course.variables["AWS_SECRET_ACCESS_KEY"] = "topsecret"
    printed = course.ok("doctor")
    assert "MLFLOW_TRACKING_URI=http://old:5000" in printed
    assert "`unset AWS_SECRET_ACCESS_KEY`" in printed
    assert "topsecret" not in printed
    assert re.search(r"nothing is in the way; \d+ to know of, marked !\n", printed)


def test_a_setting_that_cannot_be_used_is_bad(course: Course) -> None:
    course.home.env_file.write_text("MLFLOW_PORT=five\n")
    del course.variables["MLFLOW_PORT"]
    done = course.run("doctor")
    assert done.returncode == 1
    assert "MLFLOW_PORT is 'five'" in done.stdout
    course.home.env_file.unlink()


def test_a_held_port_of_the_lessons_apis_is_named(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        monkeypatch.setattr(doctor, "API_PORT", port)
        held_now = {finding.subject: finding for finding in doctor.look(course.home)}
    free_now = {finding.subject: finding for finding in doctor.look(course.home)}

    finding = held_now[f"port {port}"]
    assert finding.verdict is doctor.Verdict.NOTE
    assert HOLDER in finding.found
    assert "another --port" in finding.remedy
    assert free_now[f"port {port}"].verdict is doctor.Verdict.GOOD
