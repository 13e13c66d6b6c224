"""Server traces that no lookup has come for: they leave as they are, or make an inferred lookup.

They leave when they have waited for as long as the longest lookup may last; those of clients that
never send lookups, earlier.
"""

from typing import Final

from otel_dns import semconv
from otel_dns.join.assemble import Assembler
from otel_dns.join.breakdown import break_down
from otel_dns.join.clocks.skew import AGREEING
from otel_dns.join.held import OWN_TRACE, Held
from otel_dns.join.infer import gather
from otel_dns.join.settings import SECOND
from otel_dns.join.settle import in_order
from otel_dns.join.silence import Silence
from otel_dns.join.tie import Ties
from otel_dns.join.unseen import Unseen
from otel_dns.join.waiting import WaitingLookup, WaitingTrace
from otel_dns.model import Join, Resolution

_DISORDER_NS: Final = 2 * SECOND
"""So much later than what came after it a server trace may arrive: reporters send every second."""


class Releaser:
    """Lets server traces go."""

    def __init__(
        self, held: Held, ties: Ties, assembler: Assembler, silence: Silence, unseen: Unseen
    ) -> None:
        self._held = held
        self._ties = ties
        self._assembler = assembler
        self._silence = silence
        self._unseen = unseen
        self._infer_from_ns = 0

    # -- clients that never send lookups ---------------------------------------------------------

    def hurry(self, waiting: WaitingTrace, client: str, now_ns: int) -> None:
        """Let a server trace leave soon, if its client sends no lookups.

        It waits as long as a lookup does: for the rest of it, and for what the same client asked
        next, of which a lookup is inferred.
        """
        settings, soon = self._held.settings, self._held.soon
        after_ns = settings.silent_after_ns
        if after_ns is None or waiting in soon:
            return
        if isinstance(waiting.key, bytes) and waiting.key[:8] != OWN_TRACE:
            return  # in a trace of its client's
        until_ns = now_ns + settings.settle_ns
        if self._silence.is_silent(client, now_ns, after_ns) and until_ns < waiting.expires_ns:
            soon[waiting] = until_ns

    def _due_soon(self, now_ns: int) -> dict[WaitingTrace, int]:
        """Take the server traces that have waited long enough, as their clients are silent."""
        soon = self._held.soon
        due, waits_on = {}, []
        for waiting, until_ns in soon.items():
            if until_ns > now_ns:
                break
            if self._is_nobodys(waiting, now_ns):
                due[waiting] = until_ns
            else:
                waits_on.append(waiting)
        for waiting in waits_on:
            del soon[waiting]
        return due

    def _is_nobodys(self, waiting: WaitingTrace, now_ns: int) -> bool:
        after_ns, header = self._held.settings.silent_after_ns, waiting.header
        return (
            after_ns is not None
            and header is not None
            and waiting.claim is None
            and not waiting.carries_context
            and self._silence.is_silent(header.client, now_ns, after_ns)
        )

    # -- letting go ------------------------------------------------------------------------------

    def expire(self, now_ns: int) -> None:
        """Let go of what has waited long enough."""
        if now_ns < self._infer_from_ns:
            return
        soon = self._held.soon
        expired = self._due_soon(now_ns) if soon else {}
        for waiting in self._held.traces.values():
            if waiting.expires_ns > now_ns:
                break
            expired.setdefault(waiting, waiting.expires_ns)
        due = list(expired)
        if due and self._held.settings.infer:
            # What one lookup asked of several servers comes in any order, within a second or two:
            # what is just due waits for what may have been before it.
            self._infer_from_ns = now_ns + SECOND
            started = [
                one.start_ns - (0 if expired[one] <= now_ns - 2 * _DISORDER_NS else _DISORDER_NS)
                for one in due
                if one.header is not None
            ]
            until_ns = max(started, default=0)
            due = [one for one in due if one.header is None or one.start_ns <= until_ns]
        for waiting in due:
            if waiting in soon and waiting.header is not None:
                self._held.counts["traces_of_silent_clients"] += 1
                self._silence.released(waiting.header.client, waiting.start_ns)
        self.let_go(due)

    def let_go(self, due: list[WaitingTrace]) -> None:
        """Let go of server traces, in order of time."""
        held = self._held
        for waiting in [one for one in due if one.header is None]:
            held.release(waiting, "no_root")
        for waiting in sorted((one for one in due if one.header is not None), key=_trace_order):
            if waiting.slot is not None and self._ties.wanted:
                self._ties.tie(waiting.slot)
            if waiting.key not in held.traces:
                continue  # it went with another
            if held.settings.infer and waiting.slot is not None and not waiting.disputed:
                self._infer(waiting)
            else:
                held.release(waiting, "silent" if waiting in held.soon else "unmatched")

    def _infer(self, first: WaitingTrace) -> None:
        """Make a lookup of server traces, of which this is the first."""
        inferred = gather(first, self._held.slots)
        lookup = inferred.lookup()
        owner = WaitingLookup(lookup, 0, AGREEING)  # its times are by the server's clock
        for trace, candidate in inferred.traces:
            if trace.key in self._held.traces:
                self._assembler.join(owner, trace, candidate, semconv.METHOD_INFERRED, None)
        self._held.counts["lookups_inferred"] += 1
        join = Join(tuple(sorted(owner.traces, key=in_order)), semconv.METHOD_INFERRED, 0.0)
        self._held.leaving.outcomes.append(
            Resolution(
                lookup, join, break_down(lookup, join), inferred.outcome(),
                self._unseen.reason_of_inferred(lookup.client),
            )
        )  # fmt: skip


def _trace_order(waiting: WaitingTrace) -> tuple[int, str]:
    return waiting.start_ns, str(waiting.key)
