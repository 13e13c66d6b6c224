"""What resources and scopes tell, each read once as long as it comes again."""

from collections.abc import Mapping
from types import MappingProxyType

from otel_dns import semconv
from otel_dns.model import Origin
from otel_dns.wire.otlp.attributes import AttributeValue, attributes_of, cached, string_attribute
from otel_dns.wire.otlp.protobuf import fields, varint

_MAX_INSTANCE = 255
"""Characters of an instance's name: it is remembered for long, in many places."""


@cached
def resource_attributes(resource: bytes) -> Mapping[str, AttributeValue]:
    """Return the attributes of an encoded resource; not to be changed, for it is remembered."""
    return MappingProxyType(attributes_of(resource, field=1))


@cached
def service_name(resource: bytes) -> str:
    """Return ``service.name`` of an encoded resource, or an empty string."""
    value = resource_attributes(resource).get(semconv.SERVICE_NAME)
    return value if isinstance(value, str) else ""


@cached
def scope_name(scope: bytes) -> str:
    """Return the name of an encoded instrumentation scope, or an empty string."""
    name = ""
    for tag, value, _, _ in fields(scope):
        if tag == 0x0A and isinstance(value, bytes):
            name = value.decode("utf-8", "replace")
    return name


@cached
def encode_scope(name: str) -> bytes:
    """Encode an instrumentation scope of which only the name is known."""
    text = name.encode()
    return b"\x0a" + varint(len(text)) + text


def server_instance(resource: bytes) -> str:
    """Name the instance behind an encoded resource: its Pod, else its id, else its service.

    The Pod is there where a Collector's k8s_attributes looked it up, the instance id where the
    spans came straight from the server.
    """
    attributes = resource_attributes(resource)
    for key in (semconv.K8S_POD_NAME, semconv.SERVICE_INSTANCE_ID, semconv.SERVICE_NAME):
        value = attributes.get(key)
        if isinstance(value, str) and value:
            return value[:_MAX_INSTANCE]
    return ""


@cached
def server_addresses(resource: bytes) -> tuple[str, ...]:
    """Return the addresses that an encoded resource tells of the instance behind it."""
    attributes = resource_attributes(resource)
    keys = (semconv.SERVICE_INSTANCE_ID, semconv.K8S_POD_IP, semconv.SERVER_ADDRESS)
    found = [attributes.get(key) for key in keys]
    several = attributes.get(semconv.HOST_IP)
    found += several if isinstance(several, tuple) else [several]
    return tuple(one for one in found if isinstance(one, str))


def origin_of(service: str, instance: str = "") -> Origin:
    """Make the origin of spans that carried only a service's name, as Zipkin's do.

    Args:
        service: ``service.name``.
        instance: ``service.instance.id``, where who sent the spans is known.
    """
    return _origin_of(f"{instance}\0{service}")


@cached
def _origin_of(instance_and_service: str) -> Origin:
    instance, _, service = instance_and_service.partition("\0")
    resource = string_attribute(semconv.SERVICE_NAME, service, field=1)
    if instance:
        resource += string_attribute(semconv.SERVICE_INSTANCE_ID, instance, field=1)
    return Origin(resource, scope=b"")
