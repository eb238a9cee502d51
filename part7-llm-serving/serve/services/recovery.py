"""What no living server writes any more is ended: at the start, and now and then."""

import asyncio
from collections.abc import Sequence

import structlog

from serve.core import metrics
from serve.core.errors import DatabaseAwayError
from serve.core.ownership import Ownership
from serve.cruds import orphans
from serve.database import Database

log = structlog.get_logger()

LOOK_SECONDS = 5.0


class Recovery:
    """Looks after replies whose server has died."""

    def __init__(self, database: Database, ownership: Ownership) -> None:
        self._database = database
        self._ownership = ownership

    async def end_orphans(self) -> int:
        """Interrupt the replies of dead servers; how many they were."""
        owners = await self._database.read(orphans.owners_of_streaming)
        dead = await asyncio.to_thread(self._dead, owners)
        if not dead:
            metrics.STUCK.set(0)
            return 0
        ended = await self._database.write(lambda session: orphans.interrupt(session, dead))
        if ended:
            log.warning("ended what a dead server had left", replies=ended)
        metrics.REPLIES.labels("interrupted").inc(ended)
        metrics.STUCK.set(0)
        return ended

    async def look_now_and_then(self) -> None:
        """Keep the lock, end orphans, and count what must be 0."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await asyncio.to_thread(self._ownership.hold)
                await self.end_orphans()
                metrics.GAPS.set(await self._database.read(orphans.conversations_with_gaps))
            except DatabaseAwayError as exc:
                log.warning("nobody looks after orphans now", reason=str(exc))

    def _dead(self, owners: Sequence[str | None]) -> list[str | None]:
        return [owner for owner in owners if owner is None or not self._ownership.is_alive(owner)]
