"""What `otel-dns page` can be told."""

from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class PageSettings:
    """Settings of one page."""

    history: Path
    """Directory of the history's Parquet files; it need not be there yet."""
    listen: str = "127.0.0.1:8053"
    token_file: Path | None = None
    """See :class:`otel_dns.web.access.Tokens`; needed when ``listen`` is not loopback."""
    hosts: tuple[str, ...] = ()
    """Further host names that the page may be asked under while it wants no token."""
    service_url: str = ""
    """Where the service's ``/metrics`` is, ``http://host:port``; empty: there is none."""
    service_token_file: Path | None = None
    """The token that the service wants."""
    jaeger_url: str = ""
    """Jaeger's page, for links; empty: no links."""
    threads: int = 1
    """Of DuckDB: the machine belongs to the ingest."""
    memory_bytes: int = 512 * MIB
    """Of DuckDB; what it needs beyond that goes to a temporary file, or the question fails."""
    question_s: float = 20.0
    """So long may one question take."""
    cache_s: float = 5.0
    """So long is an answer given again to whoever asks the same."""
    patience_s: float = 30.0
    """So long may who reads whole rows take for a quarter of a MiB; then he is cut off."""
