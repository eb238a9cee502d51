"""Whether the parts' scripts look for a server where it is, and what tells them if not.

A script reads a variable from the shell, then from `.env`, then has a default of its own.
"""

from collections.abc import Mapping

from course.config import Config
from course.services.base import Service


def block(
    services: Mapping[str, Service], stack: Mapping[str, int], own: Mapping[str, str]
) -> dict[str, str]:
    """What `.env` must add to the learner's `own` lines so that scripts find these servers.

    A line of the learner's is overruled only where a server could not have its port.
    """
    values = {}
    for name, port in stack.items():
        service = services[name]
        defaults = _defaults(service)
        for variable, value in service.settings(port).items():
            read = own.get(variable, defaults[variable])
            moved = port != service.preferred_port
            if not _same(read, value) and (moved or variable not in own):
                values[variable] = value
    return values


def misleading(
    services: Mapping[str, Service],
    stack: Mapping[str, int],
    own: Mapping[str, str],
    exported: Mapping[str, str],
) -> list[str]:
    """A warning for each variable that sends the scripts somewhere else than to `stack`."""
    warnings = []
    written = block(services, stack, own)
    for name, port in stack.items():
        for variable, value in services[name].settings(port).items():
            if variable in exported:
                read, where = exported[variable], "is exported in this shell"
                remedy = f"`unset {variable}` mends it"
            elif variable in own and variable not in written:
                read, where = own[variable], "stands in .env"
                remedy = "remove that line to use this server"
            else:
                continue
            if not _same(read, value):
                warnings.append(
                    f"{variable}={read} {where}, so the parts' scripts will not look for {name} "
                    f"at {value}; {remedy}"
                )
    return warnings


def _defaults(service: Service) -> dict[str, str]:
    """What the scripts look for when nobody tells them: the service with the default settings."""
    plain = type(service)(service.home, Config())
    return plain.settings(plain.preferred_port)


def _same(one: str, other: str) -> bool:
    return _plain(one) == _plain(other)


def _plain(value: str) -> str:
    return value.replace("127.0.0.1", "localhost").rstrip("/")
