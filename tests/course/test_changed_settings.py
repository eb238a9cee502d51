"""What changes between two calls of `course`: ports, passwords, the clock, the learner's `.env`."""

import json
from pathlib import Path

import psycopg
import pytest

from course import env_file, pointing
from course.config import Config
from course.home import Home
from course.services import make_services
from tests.course.conftest import Course, taken

pytestmark = pytest.mark.slow


def log_text(course: Course, uri_port: str, text: str) -> None:
    """Upload an artifact through MLflow, as part 3 does."""
    import mlflow

    client = mlflow.MlflowClient(f"http://127.0.0.1:{uri_port}")
    run = client.create_run("0")
    client.log_text(run.info.run_id, text, "note.txt")


def test_mlflow_follows_its_artifact_store_and_its_database_to_other_ports(course: Course) -> None:
    course.ok("up", "part3")
    course.kill("mlflow-artifact-store")
    with taken(course.variables["S3_PORT"]):
        printed = course.ok("up", "part3")
    assert "mlflow-artifact-store listens on" in printed
    assert printed.count("runs already") == 1  # PostgreSQL only
    log_text(course, course.variables["MLFLOW_PORT"], "kept")

    # Part 1 does not need MLflow, but has moved its database.
    course.kill("postgres-server")
    with taken(course.variables["POSTGRES_PORT"]):
        printed = course.ok("up", "part1")
    assert "postgres-server listens on" in printed
    assert "✓ mlflow-server" in printed
    log_text(course, course.variables["MLFLOW_PORT"], "kept")


def test_a_new_password_reaches_mlflow_when_it_is_asked_for_and_can_be_replaced(
    course: Course,
) -> None:
    """And the learner's own cloud account reaches it never."""
    course.variables |= {"AWS_PROFILE": "not-there", "AWS_ENDPOINT_URL": "http://localhost:1"}
    course.ok("up", "part3")
    mlflow = course.pid("mlflow-server")
    course.variables["MINIO_ROOT_PASSWORD"] = "another-secret"
    course.ok("up", "part1")
    assert course.pid("mlflow-server") == mlflow
    log_text(course, course.variables["MLFLOW_PORT"], "kept")

    assert course.ok("up", "part3").count("runs already") == 1
    log_text(course, course.variables["MLFLOW_PORT"], "kept")
    for record in (course.home.path / "run").glob("*.json"):
        assert "another-secret" not in record.read_text()

    mlflow = course.pid("mlflow-server")
    course.variables["MLFLOW_DB_PASSWORD"] = "different"
    done = course.run("up", "part3")
    assert done.returncode == 1
    assert "another user or password than MLFLOW_DB_USER='mlflowuser'" in done.stderr
    del course.variables["MLFLOW_DB_PASSWORD"]
    assert course.pid("mlflow-server") == mlflow
    log_text(course, course.variables["MLFLOW_PORT"], "kept")


@pytest.mark.parametrize("name", ["My Bucket", "ab", "a..b"])
def test_a_bucket_name_that_s3_refuses_is_bad_usage(course: Course, name: str) -> None:
    course.variables["S3_BUCKET"] = name
    done = course.run("up", "mlflow-artifact-store")
    assert done.returncode == 2
    assert f"S3_BUCKET is {name!r}" in done.stderr
    assert course.nothing_is_left()


def test_a_server_that_an_older_course_has_started_keeps_its_port(course: Course) -> None:
    course.ok("up", "part1")
    record = course.home.run_record("postgres-server")
    older = json.loads(record.read_text())
    del older["fingerprint"]
    record.write_text(json.dumps(older))
    assert "is held by" not in course.ok("up", "part1")
    with course.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_clock_that_was_set_does_not_hide_what_runs(course: Course) -> None:
    course.ok("up", "part1")
    record = course.home.run_record("postgres-server")
    shifted = json.loads(record.read_text())
    shifted["started"] -= 3600
    record.write_text(json.dumps(shifted))
    assert "runs already" in course.ok("up", "part1")


def test_status_during_a_first_up_changes_nothing(course: Course) -> None:
    with course.start("up", "part1") as starting:
        while starting.poll() is None:
            course.ok("status")
        assert starting.returncode == 0, starting.communicate()
    assert "postgres-server        running" in course.ok("status")


def test_status_with_a_wrong_password_shows_the_table_and_the_reason(course: Course) -> None:
    course.ok("up", "part1")
    course.variables["POSTGRES_PASSWORD"] = "x"
    printed = course.ok("status")
    assert "postgres-server        does not answer" in printed
    assert "! postgres-server: " in printed
    assert "for another user or password" in printed
    del course.variables["POSTGRES_PASSWORD"]


def test_a_postgres_without_a_free_connection_is_left_alone(course: Course) -> None:
    course.ok("up", "part1")
    first = course.pid("postgres-server")
    held = [course.connect()]
    (limit,) = held[0].execute("SHOW max_connections").fetchone() or ("",)
    held += [course.connect() for _ in range(int(limit) - 1)]
    with pytest.raises(psycopg.OperationalError, match="too many clients"):
        course.connect()
    done = course.run("up", "part1")
    assert "has no connection left" in done.stderr
    assert course.pid("postgres-server") == first
    assert "postgres-server        running" in course.ok("status")
    assert held[0].execute("SELECT 1").fetchone() == (1,)
    for connection in held:
        connection.close()


def test_the_cause_of_a_failed_start_is_this_starts_and_not_an_older_ones(course: Course) -> None:
    course.ok("up", "part1")
    course.ok("down")
    with course.home.log("postgres-server").open("a") as log:
        log.write("FATAL: could not bind IPv4 address: Address already in use\n")
    conf = course.home.data("postgres-server") / "postgresql.conf"
    conf.write_text(conf.read_text() + "\nno_such_setting = 1\n")
    done = course.run("up", "part1")
    assert "another program took the port" not in done.stderr
    assert "configuration file" in done.stderr


def test_a_port_of_ones_own_in_env_reaches_the_scripts(course: Course) -> None:
    own = course.variables.pop("S3_PORT")
    course.home.env_file.write_text(f"S3_PORT={own}\n")
    course.ok("up", "mlflow-artifact-store")
    text = course.home.env_file.read_text()
    assert f"S3_ENDPOINT_URL=http://localhost:{own}\n" in text
    assert text.count("S3_PORT") == 1
    course.ok("down")
    assert course.home.env_file.read_text() == f"S3_PORT={own}\n"


def test_a_tick_mark_that_the_terminal_lacks_is_no_reason_to_fail(course: Course) -> None:
    course.variables["PYTHONIOENCODING"] = "cp1252"
    assert "? postgres-server" in course.ok("up", "part1")


def test_an_env_file_in_another_encoding_stops_no_server_from_stopping(course: Course) -> None:
    course.ok("up", "part1")
    course.home.env_file.write_bytes("# 내 설정\nA=1\n".encode("cp949"))
    done = course.run("doctor")
    assert "is not in UTF-8" in done.stdout
    assert done.returncode == 1
    course.ok("down")
    assert course.nothing_is_left()
    assert course.home.env_file.read_bytes() == "# 내 설정\nA=1\n".encode("cp949")


def test_a_block_can_hold_every_variable_of_every_service(tmp_path: Path) -> None:
    services = make_services(Home(tmp_path), Config())
    written = {name for s in services.values() for name in s.settings(s.preferred_port)}
    assert written == env_file.BLOCK_VARIABLES


def test_a_server_elsewhere_that_the_learner_wrote_down_is_kept_and_said(tmp_path: Path) -> None:
    services = make_services(Home(tmp_path), Config())
    own = {"MLFLOW_TRACKING_URI": "http://team:5000"}
    stack = {"mlflow-server": 5001}
    assert pointing.block(services, stack, own) == {}
    warnings = pointing.misleading(services, stack, own, exported={})
    assert len(warnings) == 1
    assert "MLFLOW_TRACKING_URI=http://team:5000 stands in .env" in warnings[0]


def test_another_spelling_of_the_same_address_is_no_reason_for_a_word(tmp_path: Path) -> None:
    services = make_services(Home(tmp_path), Config())
    same = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:5001/"}
    stack = {"mlflow-server": 5001}
    assert pointing.block(services, stack, same) == {}
    assert pointing.misleading(services, stack, own={}, exported=same) == []
