"""What ``otel-dns serve`` does once it has read its settings."""

import contextlib
import logging
import resource
import signal
import sys
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Final

from otel_dns.cli.page_child import page_of
from otel_dns.service import configuration, own_log
from otel_dns.service.configuration.settings import ServeSettings
from otel_dns.service.memory import collect_seldom, give_back
from otel_dns.service.secrets import SecretError
from otel_dns.service.service import Service

_LOOK_S = 0.5
_MANY_FILES: Final = 1 << 16


def run(load: Callable[[], ServeSettings]) -> None:
    """Run the processor until a signal ends it; exits with 1 where it cannot go on.

    Args:
        load: Reads the settings, also anew.
    """
    settings = load()
    own_log.set_up(settings.telemetry.log)
    log = logging.getLogger("otel_dns")
    signals: SimpleQueue[int] = SimpleQueue()

    def note(number: int, _frame: FrameType | None) -> None:
        signals.put(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, note)
    try:
        service = Service(settings)
    except OSError as error:  # a file of certificates, a token or a key
        log.critical("%s", error)
        sys.exit(1)
    give_back()
    collect_seldom()
    _allow_many_files()
    try:
        addresses = service.start()
    except SecretError as error:
        log.critical("%s", error)
        sys.exit(1)
    except OSError as error:
        log.critical("%s (another address: --otlp-listen, --http-listen, --dnstap-listen)", error)
        sys.exit(1)
    outputs = ", ".join(output.endpoint for output in settings.outputs)
    listening = ", ".join(f"{name} on {address}" for name, address in addresses.items())
    log.info("%s, out to %s", listening, outputs)
    page = page_of(settings, addresses)
    if page is not None:
        page.start()
    while service.healthy:
        with contextlib.suppress(Empty):
            if signals.get(timeout=_LOOK_S) != signal.SIGHUP:
                break
            _reload(service, load)
    healthy = service.healthy
    log.info("ending: joining and sending what is held")
    if page is not None:
        page.stop()
    service.stop()
    counted = sorted((name, value) for name, value in service.counts().items() if value)
    counts = ", ".join(f"{name} {value}" for name, value in counted)
    log.info("ended: %s", counts or "nothing came")
    if not healthy:
        sys.exit(1)


def _allow_many_files() -> None:
    """Let the listeners' connections fit: the limit is often 1024 files, which nobody meant so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, _MANY_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _reload(service: Service, load: Callable[[], ServeSettings]) -> None:
    """Read the settings anew; on a mistake in them all stays as it is."""
    log = logging.getLogger("otel_dns")
    try:
        taken, kept = service.reload(load())
    except (configuration.ConfigurationError, OSError) as error:
        log.error("the settings stay as they were: %s", error)  # noqa: TRY400 - theirs, not ours
        return
    own_log.set_up(service.settings.telemetry.log)
    log.info("settings read anew; changed: %s", ", ".join(taken) or "nothing")
    if kept:
        log.warning("these change with a restart only: %s", ", ".join(kept))
