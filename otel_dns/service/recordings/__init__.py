"""Recordings on disk, of whatever kind: told apart, unpacked, read, and replayed."""

from otel_dns.service.recordings.reading import KINDS, Reading, read

__all__ = ["KINDS", "Reading", "read"]
