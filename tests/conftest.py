"""What all tests share: which skips are allowed, and whose litter is whose."""

import gc
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support import skips

# Properties are not judged by the clock, a busy machine is no failure; and each run tries the same
# examples: what a change breaks is found by that change. Others: --hypothesis-profile=at-random.
settings.register_profile("at-random", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("alike", settings.get_profile("at-random"), derandomize=True)
settings.load_profile("alike")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--allowed-skips", type=Path, metavar="FILE", help=skips.HELP)


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background job ignores Ctrl-C, and so would every program that a test starts
        # and then interrupts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        # What tests have started is ended with them. Who only hands them out ends at once: its
        # workers notice, and end the test that they are at.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.pluginmanager.register(SkipReport(config.getoption("--allowed-skips")), "skip-report")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave all that is here already out of every later search for garbage: it takes long."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Hypothesis may be imported for its summary only, and looks at what refers to what."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _no_garbage_for_others() -> Iterator[None]:
    """Collect what a test and its fixtures left to the garbage collector, while its filters hold.

    Else a socket that was not closed is collected, and told as an error, in whichever test comes
    later, now and then.
    """
    yield
    gc.collect()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """Likewise what a module's fixtures left; what stays then is out of every later search."""
    try:
        yield
    finally:
        if nextitem is None or nextitem.path != item.path:
            gc.collect()
            gc.freeze()


class SkipReport:
    """Counts skips, and makes those fail the run that its own list does not allow."""

    def __init__(self, allowed: Path | None) -> None:
        self.refused: list[str] = []
        self.allowed = skips.AllowedSkips(allowed)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else "no reason"
        if not self.allowed.allow(reason):
            self.refused.append(f"{report.nodeid}: {reason}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.refused and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for refused in self.refused:
            terminalreporter.write_line(f"skip not allowed: {refused}", red=True)
