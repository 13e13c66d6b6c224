"""What ``otel-dns demo`` does: runs the lab, or replays a recording of it, and shows lookups."""

import contextlib
import json
import subprocess
import tempfile
from pathlib import Path

import click
from rich.console import Console

from otel_dns.cli.demo_page import ROUNDS, show_page
from otel_dns.cli.demo_report import short_report, slowest
from otel_dns.cli.joined import JoinedLookup, joined_lookups
from otel_dns.cli.progress import Steps
from otel_dns.cli.waterfall import legend, summary, waterfall
from otel_dns.lab import Lab, LabError, available, delimited, programs, scenarios
from otel_dns.service.recordings.replay import replay
from otel_dns.wire.otlp import SpanView, decode

_SETTLE_S = 1.5
"""CoreDNS's reporter sends every second, and the application when it ends."""

_WRITTEN_S = 120.0

_RECORDING = Path(delimited.__file__).with_name("recordings") / "demo"

_NEXT = """\
Where to look next
  otel-dns lab up             the same DNS test bed, left running, to try things in
  otel-dns serve --help       the processor, beside your Collector or straight to Jaeger
  docs/investigations.md      three troubles, each found by page, command line, Grafana and Jaeger
  docs/client.md              switch the instrumentation on in your application
  docs/collector.md           the Collector configurations
  docs/architecture.md        how lookups are joined, and how sure that is"""


def run(*, replayed: bool, paged: bool) -> None:
    """Show an application's lookups: live, or of the recording; with the page at the end."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 100)
    with contextlib.ExitStack() as kept:
        history = None
        if paged and not replayed:
            directory = kept.enter_context(tempfile.TemporaryDirectory(prefix="otel-dns-demo-"))
            history = Path(directory)
        spans = None if replayed else _live(history)
        if spans is None:
            spans, history = _replayed(console), None
        lookups = joined_lookups(spans)
        _show(console, lookups)
        if history is not None:
            span = slowest(lookups).span
            show_page(console, history, f"{span.trace_id.hex()}/{span.span_id.hex()}")


def _show(console: Console, lookups: list[JoinedLookup]) -> None:
    for lookup in lookups:
        console.print()
        console.print(waterfall(lookup, console.width))
    console.print()
    console.print(legend())
    console.print()
    console.print(summary(lookups))
    console.print()
    console.print(short_report(lookups), soft_wrap=True)
    console.print()
    console.print(_NEXT, markup=False)


def _live(history: Path | None) -> list[SpanView] | None:
    """Run the storefront in a lab; None, and a line that says why, where there can be none."""
    try:
        with Steps() as steps:
            steps.step("looking for namespaces")
            reason = _no_storefront() or available()
            if reason is None:
                return _in_the_lab(steps, history)
    except (LabError, programs.ProgramMissing, programs.BuildFailed) as error:
        raise click.ClickException(str(error)) from None
    except subprocess.TimeoutExpired as error:
        raise click.ClickException(f"the storefront did not end within {error.timeout} s") from None
    click.echo(f"No lab here ({reason}): replaying a recording.", err=True)
    return None


def _no_storefront() -> str | None:
    """Why there is no application to run, as one line; an installed otel-dns has no examples."""
    try:
        scenarios.storefront()
    except LabError as error:
        return str(error)
    return None


def _in_the_lab(steps: Steps, history: Path | None) -> list[SpanView]:
    """Run the storefront in the lab, and take the spans that the processor sends out.

    With a history, run it some more for the page to have something to show.
    """
    programs.get("coredns", steps.builds)
    steps.step("making the lab")
    with Lab(progress=steps.step) as lab:
        output = lab.capture("joined", zipkin_port=None, dnstap_port=None)
        processor = lab.processor(
            ["--settle", str(_SETTLE_S), *(["--history", str(history)] if history else [])],
            output=output.otlp,
            env={"OTEL_DNS__PAGE__LISTEN": "null"},  # shown when the lab is down
        )
        lab.upstream_dns()
        lab.cluster_dns(zipkin=processor.zipkin_url)
        lab.web_server()
        pod = lab.pod("storefront-7d4b9c", namespace="shop")
        steps.step("running the storefront under opentelemetry-instrument")
        done = pod.run(
            scenarios.instrumented(scenarios.storefront()),
            env=scenarios.client_env(processor.otlp),
            timeout=300,
        )
        if done.returncode:
            raise click.ClickException(f"the storefront failed:\n{done.stdout}{done.stderr}")
        steps.step("waiting for CoreDNS's spans, joining")

        def joined() -> list[SpanView]:
            requests = [request.SerializeToString() for request in output.trace_requests()]
            return [span for request in requests for span in decode(request)]

        output.wait_until(
            lambda: len(joined_lookups(joined())) >= scenarios.STOREFRONT_LOOKUPS,
            f"{scenarios.STOREFRONT_LOOKUPS} joined lookups",
        )
        spans = joined()
        if history is not None:
            steps.step("running it some more, for the page")
            pod.run(
                scenarios.instrumented([*scenarios.storefront(), "--times", str(ROUNDS)]),
                env=scenarios.client_env(processor.otlp),
                timeout=300,
            )
            wanted = scenarios.STOREFRONT_LOOKUPS * (ROUNDS + 1)
            output.wait_until(lambda: len(joined_lookups(joined())) >= wanted, "all joined lookups")
            # At its end it writes what is in no file yet; on a busy machine that takes longer than
            # the lab would wait.
            processor.process.stop(_WRITTEN_S)
        steps.step("taking the lab down")
    return spans


def _replayed(console: Console) -> list[SpanView]:
    """Put the recording through the same core."""
    try:
        manifest = json.loads((_RECORDING / "manifest.json").read_text())
        otlp_requests = delimited.decode((_RECORDING / "client-traces.otlp").read_bytes())
        zipkin_bodies = (_RECORDING / "coredns-zipkin.jsonl").read_bytes().splitlines()
        sent = replay(otlp_requests, zipkin_bodies)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"the recording in {_RECORDING} is damaged: {error}") from None
    versions = manifest["versions"]
    console.print(
        f"RECORDING of {manifest['date']}: real programs in the lab, CoreDNS"
        f" {versions['CoreDNS']}, {versions['C library']}, Linux {versions['Linux']}",
        style="bold",
    )
    return [span for request in sent for span in decode(request)]
