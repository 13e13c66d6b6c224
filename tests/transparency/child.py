"""One suite in this process: ``child SUITE bare|instrumented RESULTS [ID ...]``.

Writes a JSON object: outcomes by test id, and how many lookups were recorded. With ids, only
these tests are run. A test that hangs ends the process, which then says which it is and where.
"""

import faulthandler
import gc
import importlib
import json
import os
import sys
import unittest
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.transparency.suites import CPYTHON, SUITES, Suite

Outcomes = dict[str, str]
TEST_SECONDS = 100

_said = os.fdopen(os.dup(2), "w", buffering=1)
"""Where what is said is not captured by a runner of tests."""


def begins(what: str) -> None:
    """Give a test its time; the last one that was named is the one that hangs."""
    print(what, file=_said)
    faulthandler.dump_traceback_later(TEST_SECONDS, exit=True, file=_said)


class Result(unittest.TestResult):
    """Keeps each test's outcome; a test is as bad as its worst part."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: Outcomes = {}

    def startTest(self, test: unittest.TestCase) -> None:
        begins(test.id())
        super().startTest(test)

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.outcomes.setdefault(test.id(), "passed")

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self._bad(test, "error", err)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._bad(test, "failed", err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.outcomes[test.id()] = f"skipped: {reason}"

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.outcomes[test.id()] = "expected failure"

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self.outcomes[test.id()] = "unexpected success"

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            self._bad(test, "failed", err)

    def _bad(self, test: unittest.TestCase, how: str, err: Any) -> None:
        # What was raised belongs to the outcome: the same failure, not just a failure.
        self.outcomes[test.id()] = f"{how}: {err[0].__name__}"


def tests_of(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests_of(test)
        else:
            yield test


def run_unittests(suite: Suite, only: Sequence[str]) -> Outcomes:
    from test import support

    support.use_resources = []  # no network, no long ones
    support.verbose = 0
    found = tests_of(unittest.defaultTestLoader.loadTestsFromNames(suite.modules))
    # Kept by nobody but the suite, which lets go of each when it is done: many of them call the
    # garbage collector.
    chosen = unittest.TestSuite(
        test
        for test in found
        if (not only or test.id() in only) and not any(part in test.id() for part in suite.left_out)
    )
    result = Result()
    # Many of these tests collect garbage; all that is here already need not be looked at each time.
    gc.collect()
    gc.freeze()
    chosen.run(result)
    return result.outcomes


class Plugin:
    """Keeps each test's outcome under pytest."""

    def __init__(self) -> None:
        self.outcomes: Outcomes = {}

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        begins(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            how: str = report.outcome
            crash = getattr(report.longrepr, "reprcrash", None)
            if crash is not None:
                how += f": {crash.message.partition(':')[0]}"
            elif report.skipped and isinstance(report.longrepr, tuple):
                how += f": {report.longrepr[2]}"
            self.outcomes[report.nodeid] = how


def run_pytest(suite: Suite, directory: str, only: Sequence[str]) -> Outcomes:
    import pytest

    # Before the tests import their own package of this name.
    for name in [name for name in sys.modules if name == "tests" or name.startswith("tests.")]:
        del sys.modules[name]
    os.chdir(directory)
    sys.path.insert(0, directory)
    util = importlib.import_module("tests.util")
    util._internet_reachable = suite.modules != ("tests",)
    plugin = Plugin()
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-c", os.devnull]
    pytest.main([*options, "--rootdir", directory, *(only or suite.modules)], plugins=[plugin])
    return plugin.outcomes


def switch_on() -> Callable[[], int]:
    """Record everything, to nowhere; return what tells how many lookups it were."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

    import otel_dns.client

    class Count(SpanExporter):
        number = 0

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            Count.number += len(spans)
            return SpanExportResult.SUCCESS

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(Count()))
    otel_dns.client.instrument(
        tracer_provider=provider,
        meter_provider=MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False),
    )
    return lambda: Count.number


def main(name: str, mode: str, results: str, directory: str, *only: str) -> None:
    (suite,) = (suite for suite in SUITES if suite.name == name)
    output = Path(results).resolve()
    begins("the search for tests")
    recorded = switch_on() if mode == "instrumented" else lambda: 0
    if suite.kind == CPYTHON:
        outcomes = run_unittests(suite, only)
    else:
        outcomes = run_pytest(suite, directory, only)
    begins("the end")
    output.write_text(json.dumps({"outcomes": outcomes, "lookups": recorded()}), encoding="utf-8")
    # Threads that a test left behind must not keep the process.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
