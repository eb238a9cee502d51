"""Part 5 in containers: up from a clean clone, used from the host, killed, and up again."""

import time
from collections.abc import Callable

import httpx2
import pytest

from tests.compose import Compose
from tests.waiting import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(900)]

ADA = {"name": "ada", "nickname": "countess"}


def test_the_api_comes_up_survives_a_kill_and_keeps_its_users(
    compose: Callable[..., Compose],
) -> None:
    project = compose("part5")
    project.up()
    assert project.states() == dict.fromkeys(("crud-api", "postgres-server"), "running (healthy)")
    assert project.run("exec", "crud-api", "id", "-u").strip() == "10001"

    with httpx2.Client(base_url=f"http://localhost:{project.ports['CRUD_API_PORT']}") as client:
        made = client.post("/users", json=ADA)
        assert made.status_code == 201
        place = made.headers["location"]

        project.kill("postgres-server")
        for answer in (client.get(place), client.get("/health")):
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "2"
        wait_for(lambda: project.states()["crud-api"] == "running (unhealthy)", project.states)
        project.run("up", "--detach", "--wait", "postgres-server")
        assert client.get(place).json() == made.json()

        project.kill("crud-api")
        project.up()
        assert client.get(place).json() == made.json()

        stopped_at = time.monotonic()
        project.run("stop", "crud-api")
        assert time.monotonic() - stopped_at < 8  # it ends by itself, nobody has to kill it
        assert "Application shutdown complete" in project.run("logs", "crud-api")

        project.run("down")  # without --volumes: the containers go, the data stay
        project.up()
        assert client.get(place).json() == made.json()


def test_the_image_alone_keeps_its_users_in_a_file(compose: Callable[..., Compose]) -> None:
    """Without compose: SQLite in a folder that the user of the image may write into."""
    project = compose("part5")
    project.run("build")
    program = (
        "from part5.user_store import UserStore; from part5.users import UserIn; "
        "from part5.settings import load_settings as s; "
        "store = UserStore(s().users_database_url.get_secret_value()); "
        "print(store.add(UserIn(name='ada', nickname='x')).id)"
    )
    file = ("-e", "USERS_DATABASE_URL=sqlite:////data/users.db", "-v", "/data", "--no-deps")
    assert project.run("run", "--rm", *file, "crud-api", "python", "-c", program).startswith("1\n")
