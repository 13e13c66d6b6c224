"""Which suites are run, and what is left out of them, with the reason."""

from dataclasses import dataclass

CPYTHON = "cpython"
DNSPYTHON = "dnspython"


@dataclass(frozen=True, slots=True)
class Suite:
    """Tests that run in one process."""

    name: str
    kind: str
    modules: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    """Parts of test ids."""
    without_lookups: bool = False
    """None of it looks a name up; it is run all the same, for what its library's own do."""


SUITES = (
    Suite(
        "socket",
        CPYTHON,
        ("test.test_socket",),
        # Sockets between virtual machines and their host: they look nothing up, and hang where
        # the machine is one.
        left_out=("VSOCK",),
    ),
    Suite(
        "asyncio",
        CPYTHON,
        # All that touches sockets and names. Not: queues, locks, tasks, subprocesses, Windows.
        (
            "test.test_asyncio.test_base_events",
            "test.test_asyncio.test_buffered_proto",
            "test.test_asyncio.test_events",
            "test.test_asyncio.test_runners",
            "test.test_asyncio.test_selector_events",
            "test.test_asyncio.test_sendfile",
            "test.test_asyncio.test_server",
            "test.test_asyncio.test_sock_lowlevel",
            "test.test_asyncio.test_streams",
            "test.test_asyncio.test_threads",
            "test.test_asyncio.test_unix_events",
        ),
    ),
    Suite(
        "urllib",
        CPYTHON,
        # What opens connections by name. Not: those that need the internet (test_urllibnet, ...).
        (
            "test.test_urllib",
            "test.test_urllib2",
            "test.test_urllib2_localnet",
            "test.test_httplib",
            "test.test_httpservers",
            "test.test_ftplib",
            "test.test_imaplib",
            "test.test_poplib",
            "test.test_robotparser",
            "test.test_smtplib",
            "test.test_xmlrpc",
        ),
    ),
    # All of its tests; they skip what needs the internet when they are told that there is none.
    Suite("dnspython", DNSPYTHON, ("tests",), without_lookups=True),
    # Those that are skipped then though they only need their own server on loopback.
    Suite(
        "dnspython-local",
        DNSPYTHON,
        tuple(
            f"tests/test_resolver.py::{name}"
            for name in (
                "NanoTests",
                "ZoneForNameTests",
                "testResolverTimeout",
                "testResolverNoNameservers",
                "testZoneForNameLifetimeTimeout",
                "testAsyncZoneForNameLifetimeTimeout",
                "testAsyncHelpfulNXDOMAIN",
            )
        ),
    ),
)
