"""Tells on the terminal what is going on, for whatever takes more than a moment."""

import sys
import time
from types import TracebackType
from typing import Self

import click

from otel_dns.lab.programs import Progress as Builds


class Steps:
    """A line a step, with how long it took; as a context manager it ends the last line."""

    def __init__(self) -> None:
        self._began: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.done()
        elif self._began is not None:
            self._began = None
            click.echo("stopped", err=True)

    @property
    def builds(self) -> Builds:
        """The same for the building of programs."""
        self.done()
        return Builds(sys.stderr)

    def step(self, line: str) -> None:
        """Begin a step; this ends the one before."""
        self.done()
        self._began = time.monotonic()
        click.echo(f"  {line} ... ", nl=False, err=True)

    def done(self) -> None:
        """End the step under way, if there is one."""
        if self._began is not None:
            click.echo(f"{time.monotonic() - self._began:.1f} s", err=True)
            self._began = None
