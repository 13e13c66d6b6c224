"""All outputs together: each gets everything, and none of them waits for another.

What an output has no room for is left out for it alone, and counted, as long as another takes it.
Only when all are full does the pipeline wait, and senders are told to come again.
"""

from collections.abc import Sequence

from otel_dns.service.counts import Counts
from otel_dns.service.output import OtlpOutput
from otel_dns.service.settings import Output


class Outputs:
    """Several outputs, handed the same requests."""

    def __init__(self, settings: Sequence[Output]) -> None:
        self._outputs = [OtlpOutput(each) for each in settings]
        self._own = Counts()

    def start(self) -> None:
        """Start every output."""
        for output in self._outputs:
            output.start()

    def send(self, request: bytes, spans: int) -> None:
        """Queue a request at every output that has room, waiting while none has."""
        if not self.offer(request, spans):
            self._own.add(spans_handed=spans)
            self._outputs[0].send(request, spans)
            for output in self._outputs[1:]:
                if not output.offer(request, spans):
                    output.leave_out(spans)

    def offer(self, request: bytes, spans: int) -> bool:
        """Queue a request at every output that has room; False when none has."""
        full = [output for output in self._outputs if not output.offer(request, spans)]
        if len(full) == len(self._outputs):
            return False
        self._own.add(spans_handed=spans)
        for output in full:
            output.leave_out(spans)
        return True

    def set_deadline(self, within_s: float) -> None:
        """From now on, give up on what cannot be sent within so many seconds."""
        for output in self._outputs:
            output.set_deadline(within_s)

    def stop(self) -> None:
        """Send what is queued, as far as the deadline lets."""
        for output in self._outputs:
            output.stop()

    @property
    def counts(self) -> Counts:
        """What all outputs have counted, together."""
        together = Counts()
        together.add(**self._own.snapshot())
        for output in self._outputs:
            together.add(**output.counts.snapshot())
        return together

    def each(self) -> list[OtlpOutput]:
        """Every output."""
        return list(self._outputs)

    def gauges(self) -> dict[str, int]:
        """What is held now, by all outputs together."""
        return {
            "output_queue_bytes": sum(output.queued_bytes for output in self._outputs),
            "output_queue_spans": sum(output.queued_spans for output in self._outputs),
        }
