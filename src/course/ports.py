"""Which ports are free, and who holds the others."""

import socket
import sys
from collections.abc import Container

_LOOPBACK = (
    (socket.AF_INET, "127.0.0.1"),
    (socket.AF_INET6, "::1"),
)


def is_free(port: int) -> bool:
    """Whether a server can listen on `port` and a client at `localhost` would find that server.

    Both are asked: macOS lets a second server bind 127.0.0.1 beside one on 0.0.0.0, and a
    server on ::1 alone would answer in our place.
    """
    if any(_answers(family, address, port) for family, address in _LOOPBACK):
        return False
    with socket.socket(socket.AF_INET) as server:
        if sys.platform != "win32":  # there it would allow two servers on one port
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _answers(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        with socket.socket(family) as client:
            client.settimeout(0.5)
            client.connect((address, port))
    except OSError:  # nobody there, or a machine without IPv6
        return False
    return True


def choose(preferred: int, not_these: Container[int] = ()) -> int:
    """`preferred` if it is free, else the next free port above it."""
    for port in range(preferred, min(preferred + 100, 65536)):
        if port not in not_these and is_free(port):
            return port
    with socket.socket(socket.AF_INET) as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def holder(port: int) -> str:
    """Who listens on `port`, as "NAME (pid N)"; "another program" where the system won't say."""
    import psutil  # only asked when something is in the way

    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:  # macOS tells root only
        return "another program"
    for connection in connections:
        if connection.status != psutil.CONN_LISTEN or not connection.laddr:
            continue
        if connection.laddr.port == port and connection.pid:
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.NoSuchProcess:
                break
    return "another program"
