"""API keys: kept as hashes, compared in constant time.

A key is long and random, so one round of SHA-256 is enough: there is nothing to guess, which is
what the slow hashes of passwords are for.

uv run python -m serve.core.api_keys
"""

import re
import secrets
from dataclasses import dataclass
from hashlib import sha256

PREFIX = "sha256:"


@dataclass(frozen=True)
class ApiKeys:
    """The keys that are let in, by their hashes."""

    hashes: tuple[bytes, ...]

    def admit(self, key: str) -> bool:
        """Whether `key` is one of them. Every hash is compared, so the time says nothing."""
        found = False
        # Starlette reads headers as Latin-1, so these are the bytes that the client has sent.
        digest = sha256(key.encode("latin-1")).digest()
        for known in self.hashes:
            found |= secrets.compare_digest(known, digest)
        return found


def parse_keys(listed: str) -> ApiKeys:
    """Read keys with commas between them, each plain or as sha256:HASH.

    Raises:
        ValueError: there is none, a hash is not one, or a key cannot be sent in a header.
    """
    hashes = []
    for key in filter(None, (each.strip() for each in listed.split(","))):
        if not key.startswith(PREFIX):
            # Beyond ASCII, each client sends other bytes for the same character, or none at all.
            if not re.fullmatch(r"[\x20-\x7e]+", key):
                raise ValueError(
                    "holds a key with a character that is not printable ASCII, which no header "
                    "carries safely: make one with `uv run python -m serve.core.api_keys`"
                )
            hashes.append(sha256(key.encode()).digest())
        elif re.fullmatch(r"[0-9a-f]{64}", key.removeprefix(PREFIX)):
            hashes.append(bytes.fromhex(key.removeprefix(PREFIX)))
        else:
            raise ValueError("holds a sha256: without 64 hexadecimal digits after it")
    if not hashes:
        raise ValueError("holds no key: set it to one or more, with commas between them")
    return ApiKeys(tuple(hashes))


if __name__ == "__main__":
    made = secrets.token_urlsafe(32)
    print(f"key   {made}")
    print(f"hash  {PREFIX}{sha256(made.encode()).hexdigest()}")
