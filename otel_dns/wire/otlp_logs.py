"""OTLP log requests: CoreDNS's lines as a Collector's ``filelog`` receiver sends them.

Lines are level 1's evidence, a few hundred a request, so protobuf's own objects will do; the
regular expression that follows costs more.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from otel_dns import semconv
from otel_dns.model import Message
from otel_dns.wire import MalformedError, Unused, coredns_log
from otel_dns.wire.otlp.requests import logs_in_pieces

_SERVER_KEYS: Final = (semconv.K8S_POD_NAME, semconv.HOST_NAME)
"""Whose log it is: the first of these, on the record or its resource."""
_MAX_TEXT: Final = 255


def messages(request: bytes) -> Iterator[Message | Unused]:
    """Read the records of an ``ExportLogsServiceRequest``.

    Yields:
        A message for each record that tells of a query, for the others why not: as
        :func:`otel_dns.wire.coredns_log.parse` has it, or ``broken_line``.

    Raises:
        MalformedError: the request is not OTLP; of a large one much may have been yielded.
    """
    for piece in logs_in_pieces(request):
        try:
            parsed = ExportLogsServiceRequest.FromString(piece)
        except DecodeError as error:
            raise MalformedError(f"not an OTLP log request: {error}") from None
        yield from _messages(parsed)


def _messages(request: ExportLogsServiceRequest) -> Iterator[Message | Unused]:
    for resource_logs in request.resource_logs:
        whose = _server(resource_logs.resource.attributes)
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                time_ns = record.time_unix_nano or record.observed_time_unix_nano
                server = _server(record.attributes) or whose
                try:
                    yield _message(record.body, record.attributes, server, time_ns)
                except MalformedError:
                    yield Unused("broken_line")


def _message(
    body: AnyValue, attributes: Iterable[KeyValue], server: str, time_ns: int
) -> Message | Unused:
    kind = body.WhichOneof("value")
    if kind == "kvlist_value":  # parsed by the Collector's json_parser into the body
        return coredns_log.from_fields(_fields(body.kvlist_value.values), server, time_ns)
    if kind != "string_value":
        return Unused("other_line")
    found = coredns_log.parse(body.string_value, server, time_ns)
    if isinstance(found, Unused):  # or into the attributes, with the line's text in the body
        fields = _fields(attributes)
        if "qname" in fields:
            return coredns_log.from_fields(fields, server, time_ns)
    return found


def _server(attributes: Iterable[KeyValue]) -> str:
    named = {one.key: one.value.string_value for one in attributes if one.key in _SERVER_KEYS}
    return next((named[key][:_MAX_TEXT] for key in _SERVER_KEYS if named.get(key)), "")


def _fields(values: Iterable[KeyValue]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for one in values:
        kind = one.value.WhichOneof("value")
        if kind in {"string_value", "bool_value", "int_value", "double_value"}:
            value = getattr(one.value, kind)
            # A Collector may have made a double of every number in JSON.
            whole = kind == "double_value" and value.is_integer()
            fields[one.key] = int(value) if whole and abs(value) < 1 << 53 else value
    return fields
