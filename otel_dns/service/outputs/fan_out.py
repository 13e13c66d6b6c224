"""All outputs together: each gets everything, and none of them waits for another.

What an output has no room for is left out for it alone, and counted, as long as another takes it.
Only when all are full does the pipeline wait, and senders are told to come again.
"""

import threading
from collections.abc import Collection, Mapping, Sequence

from otel_dns.service.configuration.settings import Output
from otel_dns.service.counts import Counts
from otel_dns.service.outputs.output import OtlpOutput
from otel_dns.service.requests import Requests


class Outputs:
    """Several outputs, handed the same requests."""

    def __init__(self, settings: Sequence[Output], requests: Requests | None = None) -> None:
        self._requests = requests or Requests()
        self._outputs = [OtlpOutput(each, self._requests) for each in settings]
        self._leaving: list[tuple[OtlpOutput, threading.Thread]] = []
        self._own = Counts()
        self._handed_before: dict[OtlpOutput, int] = {}
        """Spans handed to the others before an output was there."""
        self._changing = threading.Lock()

    def start(self) -> None:
        """Start every output."""
        for output in self._outputs:
            output.start()

    def send(self, request: bytes, spans: int, parts_of: Collection[int] = ()) -> None:
        """Queue a request at every output that has room, waiting while none has.

        Who waits sees when there are other outputs; past the deadline nobody waits.

        Args:
            request: encoded.
            spans: how many are in it.
            parts_of: numbers of the requests that they came in; each output holds them meanwhile.
        """
        while not self.offer(request, spans, parts_of):
            if not self._outputs[0].wait_for_room(len(request)):
                with self._changing:
                    self._own.add(spans_handed=spans)
                    outputs = self._outputs
                for output in outputs:
                    output.give_up(spans)
                return

    def offer(self, request: bytes, spans: int, parts_of: Collection[int] = ()) -> bool:
        """Queue a request at every output that has room; False when none has."""
        with self._changing:
            full = [one for one in self._outputs if not one.offer(request, spans, parts_of)]
            if len(full) == len(self._outputs):
                return False
            self._own.add(spans_handed=spans)
        for output in full:
            output.leave_out(spans)
        return True

    def change(self, settings: Sequence[Output], within_s: float) -> None:
        """Go on with other outputs: those whose settings are the same stay as they are.

        Args:
            settings: of all outputs from now on.
            within_s: so long may those that leave take for what waits there.

        Raises:
            SecretError: a file of a new output cannot be read; nothing has changed then.
        """
        left = list(self._outputs)
        outputs = []
        for each in settings:
            same = next((output for output in left if output.settings == each), None)
            if same is not None:
                left.remove(same)
            outputs.append(same or OtlpOutput(each, self._requests))
        for output in outputs:
            if output not in self._outputs:
                output.start()
        with self._changing:
            handed = self._own["spans_handed"]
            self._handed_before |= {
                output: handed for output in outputs if output not in self._outputs
            }
            self._outputs = outputs
        self._forget_those_that_left()
        for output in left:
            output.set_deadline(within_s)
            thread = threading.Thread(target=output.stop, name="otel-dns-leaving", daemon=True)
            self._leaving.append((output, thread))
            thread.start()

    def _forget_those_that_left(self) -> None:
        for output, thread in list(self._leaving):
            if not thread.is_alive():
                self._leaving.remove((output, thread))
                self._handed_before.pop(output, None)
                self._own.add(**output.counts.snapshot())

    def set_deadline(self, within_s: float) -> None:
        """From now on, give up on what cannot be sent within so many seconds."""
        for output in self._outputs:
            output.set_deadline(within_s)

    def stop(self) -> None:
        """Send what is queued, as far as the deadline lets."""
        for output in self._outputs:
            output.stop()
        for _, thread in self._leaving:
            thread.join()

    @property
    def counts(self) -> Counts:
        """What all outputs have counted, together; those that have left too."""
        together = Counts()
        together.add(**self._own.snapshot())
        for output in self._all():
            together.add(**output.counts.snapshot())
        return together

    def balances(self) -> Mapping[str, tuple[Mapping[str, int], int, int]]:
        """Give each output's counts, by name, with the spans handed to it and those that wait."""
        handed = self._own["spans_handed"]
        return {
            output.label: (
                output.counts.snapshot(),
                handed - self._handed_before.get(output, 0),
                output.queued_spans,
            )
            for output in self._outputs
        }

    def gauges(self) -> dict[str, int]:
        """What is held now, by all outputs together, and how long one is down."""
        return {
            "output_queue_bytes": sum(output.queued_bytes for output in self._all()),
            "output_queue_spans": sum(output.queued_spans for output in self._all()),
            "output_down_seconds": round(max(output.down_s for output in self._outputs)),
        }

    def _all(self) -> list[OtlpOutput]:
        return [*self._outputs, *(output for output, _ in self._leaving)]
