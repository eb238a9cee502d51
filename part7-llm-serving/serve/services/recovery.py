"""What no living server writes any more is ended: at the start, and now and then."""

import asyncio
import itertools
from collections.abc import Collection, Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError

from serve.core import metrics
from serve.core.errors import ChatError, ServerStoppingError
from serve.core.ownership import Ownership
from serve.core.tracing import Trace, Tracing, nanoseconds
from serve.cruds import orphans
from serve.database import Database
from serve.models import Status
from serve.services.generations import Generations

log = structlog.get_logger()

LOOK_SECONDS = 5.0
LOOKS_UNTIL_COUNTED = 12  # the gaps: counting them reads every message's number


class Recovery:
    """Looks after replies whose server has died."""

    def __init__(
        self,
        database: Database,
        ownership: Ownership,
        generations: Generations,
        tracing: Tracing,
    ) -> None:
        self._database = database
        self._tracing = tracing
        self._ownership = ownership
        self._generations = generations
        self._missed: set[int] = set()

    async def end_orphans(self) -> int:
        """Interrupt the replies of dead servers; how many they were."""
        owners = await self._database.read(orphans.owners_of_streaming)
        dead = await asyncio.to_thread(self._dead, owners)
        if not dead:
            metrics.STUCK.set(0)
            return 0
        # It stays so if the database takes no end.
        metrics.STUCK.set(await self._database.read(lambda session: orphans.count(session, dead)))
        ended = await self._interrupt(dead)
        if ended:
            log.warning("ended what a dead server had left", replies=ended)
        metrics.REPLIES.labels("interrupted").inc(ended)
        metrics.STUCK.set(0)
        return ended

    async def end_lost(self) -> int:
        """Interrupt our own replies that are not generated; how many they were.

        Their turn was committed, but the database broke off before it could say so. One that has
        only just begun or ended looks the same, so it counts when it is missed twice.
        """
        name = self._ownership.name
        streaming = await self._database.read(lambda session: orphans.streaming_of(session, name))
        missing = {each for each in streaming if self._generations.get(each) is None}
        lost, self._missed = missing & self._missed, missing
        if not lost:
            return 0
        ended = await self._interrupt((), lost)
        log.warning("ended what was begun without our knowledge", replies=ended)
        metrics.REPLIES.labels("interrupted").inc(ended)
        return ended

    async def look_now_and_then(self) -> None:
        """Keep the lock, end orphans, and count what must be 0."""
        for look in itertools.count():
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await asyncio.to_thread(self._ownership.hold)
                await self.end_orphans()
                await self.end_lost()
                if look % LOOKS_UNTIL_COUNTED == 0:
                    gaps = await self._database.read(orphans.conversations_with_gaps)
                    metrics.GAPS.set(gaps)
            # The lock does not go through `database`, and says what happened in other words.
            except (ChatError, SQLAlchemyError, OSError) as exc:
                log.warning("nobody looks after orphans now", reason=str(exc))

    async def _interrupt(
        self, owners: Collection[str | None], reply_ids: Collection[int] = ()
    ) -> int:
        """Interrupt them, and make the traces that their server could not; how many they were."""
        traces: dict[int, Trace] = {}

        def trace_id_of(orphan: orphans.Orphan) -> str | None:
            traces[orphan.reply_id] = self._tracing.begin(
                "turn",
                nanoseconds(orphan.created_at),
                conversation_id=orphan.conversation_id,
                message_id=orphan.message_id,
                reply_id=orphan.reply_id,
            )
            return traces[orphan.reply_id].id

        ended = await self._database.write(
            lambda session: orphans.interrupt(session, owners, reply_ids, trace_id_of)
        )
        gone = ServerStoppingError(orphans.GONE)
        for each in ended:
            traces[each.reply_id].end(Status.INTERRUPTED, gone, each.question, each.content)
        return len(ended)

    def _dead(self, owners: Sequence[str | None]) -> list[str | None]:
        return [owner for owner in owners if owner is None or not self._ownership.is_alive(owner)]
