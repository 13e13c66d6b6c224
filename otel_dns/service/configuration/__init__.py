"""What the processor can be told: the shape of it, how it is read, and what is said of mistakes."""

from otel_dns.service.configuration.reading import (
    ConfigurationError,
    changed,
    convert,
    load,
    schema,
    show,
)

__all__ = ["ConfigurationError", "changed", "convert", "load", "schema", "show"]
