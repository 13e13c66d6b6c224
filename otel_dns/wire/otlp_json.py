"""OTLP's JSON encoding, as OTLP/HTTP has it, into the protobuf one.

It is protobuf's JSON mapping with two differences (OTLP specification, "JSON Protobuf Encoding"):
trace and span ids are hexadecimal, and unknown fields are to be ignored.
"""

import base64
import binascii
import json
from typing import Any, Final, TypeVar

import msgspec
from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from otel_dns.wire import MalformedError

_IDS: Final = ("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id")
_MAX_DEPTH: Final = 40
_M = TypeVar("_M", bound=Message)


def traces(body: bytes) -> bytes:
    """Encode an ``ExportTraceServiceRequest`` given as JSON.

    Raises:
        MalformedError: it is none.
    """
    return _encode(body, ExportTraceServiceRequest())


def logs(body: bytes) -> bytes:
    """Encode an ``ExportLogsServiceRequest`` given as JSON.

    Raises:
        MalformedError: it is none.
    """
    return _encode(body, ExportLogsServiceRequest())


def response(encoded: bytes) -> bytes:
    """Write an encoded ``ExportTraceServiceResponse`` as JSON."""
    answer = ExportTraceServiceResponse.FromString(encoded)
    return json.dumps(json_format.MessageToDict(answer)).encode()


def _encode(body: bytes, message: _M) -> bytes:
    try:
        data = msgspec.json.decode(body)
        _ids_to_base64(data, 0)
        json_format.ParseDict(data, message, ignore_unknown_fields=True)
    except (msgspec.DecodeError, json_format.Error, ValueError, TypeError, AttributeError,
            RecursionError) as error:  # fmt: skip
        raise MalformedError(f"not OTLP as JSON: {str(error)[:300]}") from None
    return message.SerializeToString()


def _ids_to_base64(data: Any, depth: int) -> None:
    """Replace ids in spans, links and log records, in place."""
    if depth > _MAX_DEPTH:
        raise MalformedError("JSON nested too deep")
    if isinstance(data, list):
        for item in data:
            _ids_to_base64(item, depth + 1)
    elif isinstance(data, dict):
        for key, value in data.items():
            if key in _IDS and isinstance(value, str):
                try:
                    data[key] = base64.b64encode(binascii.unhexlify(value)).decode()
                except ValueError:
                    raise MalformedError(f"{key} is not hexadecimal") from None
            elif key != "attributes" and isinstance(value, (list, dict)):
                _ids_to_base64(value, depth + 1)
