"""What the service says of itself now: a few of its metrics, for the page's live figures."""

import contextlib
import math
import threading
import time
import urllib.request
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_S: Final = 1.0
_LONGEST: Final = 8 << 20
_KEEP_S: Final = 1.0
_PREFIX: Final = "otel_dns_"


class Live:
    """Asks the service's ``/metrics``, at most once a second whoever looks at the page."""

    def __init__(self, service_url: str, token_file: Path | None = None) -> None:
        self._token_file = token_file
        self._url = f"{service_url.rstrip('/')}/metrics" if service_url else ""
        self._lock = threading.Lock()
        self._asked = -math.inf
        self._figures: dict[str, float] | None = None

    @property
    def configured(self) -> bool:
        """Whether there is a service to ask."""
        return bool(self._url)

    def figures(self) -> dict[str, float] | None:
        """The service's counters and gauges without labels; None when it does not answer."""
        with self._lock:
            if self._url and time.monotonic() - self._asked >= _KEEP_S:
                self._figures = None
                with contextlib.suppress(OSError, ValueError):
                    self._figures = self._ask()
                self._asked = time.monotonic()
            return self._figures

    def _ask(self) -> dict[str, float]:
        request = urllib.request.Request(self._url)  # noqa: S310 the settings say http
        if self._token_file is not None:
            token = self._token_file.read_text("utf-8").strip()
            request.add_header("Authorization", f"Bearer {token}")
        # No proxy: the service is beside us.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=_TIMEOUT_S) as answer:
            text = answer.read(_LONGEST).decode("utf-8", "replace")
        return {
            sample.name.removeprefix(_PREFIX).removesuffix("_total"): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if not sample.labels and sample.name.startswith(_PREFIX)
        }
