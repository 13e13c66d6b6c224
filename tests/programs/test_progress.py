"""What a terminal and a file see of something long."""

import io

import pytest

from otel_dns.lab.programs import Progress, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    return clock


def test_a_file_gets_a_line_every_ten_seconds(clock: Clock) -> None:
    stream = io.StringIO()
    shown = Progress(stream)
    shown.restart()
    shown.say("start")
    for second in range(1, 26):
        clock.now = second
        shown.update(f"module {second}")
    assert stream.getvalue().splitlines() == ["start", "    10 s  module 10", "    20 s  module 20"]


def test_a_terminal_gets_one_line_redrawn_and_cut_to_its_width(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    shown = Progress(stream)
    shown.restart()
    shown.update("a rather long name of a module")
    clock.now = 3
    shown.say("done")
    assert stream.getvalue() == "\r\033[K     0 s  a rather " + "\r\033[Kdone\n"
