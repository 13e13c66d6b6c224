"""``otel-dns lab``: a DNS test bed on this machine, from the command line."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

import click

from otel_dns.cli.progress import Steps
from otel_dns.lab import programs
from otel_dns.lab.errors import LabError
from otel_dns.lab.scenarios import RECORDED

if TYPE_CHECKING:
    from otel_dns.lab import Lab, Place, Pod

_NAME: Final = click.option(
    "--name", default="lab", show_default=True, metavar="NAME", help="The lab's name."
)
_USERNS: Final = click.option(
    "--userns", is_flag=True, help="Use a user namespace, as for an ordinary user, also as root."
)
_FORWARDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@click.group()
def lab() -> None:
    """A real DNS test bed on this machine: Pods, DNS servers, telemetry programs.

    Needs Linux, no root, and nothing of it is left after `down`.

    \b
    Examples:
      otel-dns lab up
      otel-dns lab exec shop-1 -n shop -- getent hosts db
      otel-dns lab down
    """


@lab.command()
@_NAME
@_USERNS
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep logs and configuration there, also after `down`.",
)
@click.option("--with-jaeger", is_flag=True, help="Start Jaeger, and publish its page.")
@click.option(
    "--with-processor",
    is_flag=True,
    help="Start `otel-dns serve`; it joins lookups and spans, and keeps a history.",
)
@click.option(
    "--with-collector",
    is_flag=True,
    help="Start the Collector with collector-config/otel-dns.yaml.",
)
@click.option(
    "--collector-config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Start the Collector with this configuration.",
)
@click.option("--with-prometheus", is_flag=True, help="Start Prometheus, and publish its page.")
@click.option("--with-node-local-dns", is_flag=True, help="Start a DNS cache on the node.")
@click.option(
    "--upstream-delay",
    default="50ms",
    show_default=True,
    metavar="DURATION",
    help="How late answers under slow.example are.",
)
def up(
    name: str,
    userns: bool,
    directory: Path | None,
    with_jaeger: bool,
    with_processor: bool,
    with_collector: bool,
    collector_config: Path | None,
    with_prometheus: bool,
    with_node_local_dns: bool,
    upstream_delay: str,
) -> None:
    """Start a lab that runs until `otel-dns lab down`.

    It has a cluster DNS server (10.96.0.10), an upstream server (192.0.2.53) and a web server; on
    request telemetry programs, on the node (10.244.0.1).

    \b
    Examples:
      otel-dns lab up
      otel-dns lab up --with-jaeger --with-processor
      otel-dns lab up --name second --with-node-local-dns
    """
    from otel_dns.lab import Lab
    from otel_dns.lab.telemetry import JAEGER_OTLP

    if collector_config is None and with_collector:
        collector_config = programs.collector_config() / "otel-dns.yaml"
    wanted = ["coredns"]
    wanted += ["jaeger"] if with_jaeger else []
    wanted += ["otelcol"] if collector_config else []
    wanted += ["prometheus"] if with_prometheus else []
    with _clear_errors(), Steps() as steps:
        for program in wanted:
            programs.get(program, steps.builds)
        made = Lab(userns=userns or None, directory=directory, progress=steps.step)
        steps.step("making the lab")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        made.start(name=name, detached=True)
        try:
            published = _start(
                made,
                jaeger=with_jaeger,
                processor=with_processor,
                collector=collector_config,
                prometheus=with_prometheus,
                node_local_dns=with_node_local_dns,
                upstream_delay=upstream_delay,
            )
        except BaseException:
            # Ctrl-C and SIGTERM too: a lab that is half there is of no use.
            made.stop()
            raise
    click.echo(f"Lab {name} is up; logs and configuration: {made.directory}")
    for what, url in published.items():
        click.echo(f"  {what:<22}{url}")
    if with_processor and not with_jaeger and collector_config is None:
        click.echo(
            f"Joined traces go to {JAEGER_OTLP}, where nothing listens: add --with-jaeger, or start"
            " something there."
        )
    option = "" if name == "lab" else f" --name {name}"
    click.echo(
        f"\nRun something in a Pod:  otel-dns lab exec{option} shop-1 -n shop -- getent hosts db"
        f"\nSee what runs:           otel-dns lab status{option}"
        f"\nTake it down:            otel-dns lab down{option}"
    )


def _start(
    made: "Lab",
    *,
    jaeger: bool,
    processor: bool,
    collector: Path | None,
    prometheus: bool,
    node_local_dns: bool,
    upstream_delay: str,
) -> dict[str, str]:
    from otel_dns.lab.telemetry import JAEGER_OTLP

    published: dict[str, str] = {}
    zipkin = node_zipkin = None
    if jaeger:
        made.jaeger()
        published["Jaeger"] = _published(made, 16686)
    if processor:
        # With a Collector, joined spans go back to its second receiver.
        history = made.directory / "history"
        started = made.processor(
            ["--history", str(history)],
            output="10.244.0.1:4319" if collector else JAEGER_OTLP,
            env={"OTEL_DNS__PAGE__LISTEN": "null"},  # it would listen in there
        )
        published["History"] = f"{history} (otel-dns page, report, slow, ... --history DIR)"
        zipkin = node_zipkin = started.zipkin_url
        published["OTLP in Pods"] = f"http://{started.otlp}"
    if collector is not None:
        running = made.collector(collector)
        zipkin = running.zipkin_url
        # Straight to the processor: our Collector hands on to it one server's spans only.
        node_zipkin = node_zipkin or zipkin
        published["OTLP in Pods"] = f"http://{running.otlp}"
    made.upstream_dns(delay=upstream_delay)
    made.cluster_dns(zipkin=zipkin)
    if node_local_dns:
        made.node_local_dns(zipkin=node_zipkin)
    made.web_server()
    if prometheus:
        made.prometheus()
        published["Prometheus"] = _published(made, 9090)
    return published


def _published(made: "Lab", port: int) -> str:
    host, outside = made.publish(port)
    return f"http://{host}:{outside}"


@lab.command("exec", context_settings={"ignore_unknown_options": True})
@_NAME
@click.option("-n", "--namespace", metavar="NAMESPACE", help="The Pod's namespace.")
@click.argument("pod")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(name: str, namespace: str | None, pod: str, command: tuple[str, ...]) -> None:
    """Run COMMAND in the Pod named POD; make the Pod if there is none of the name.

    POD is NAME or NAMESPACE/NAME; `node` is the node itself. Input, output and exit code are the
    command's own (128 + number for a signal); Ctrl-C goes to it. It is killed when this ends.

    \b
    Examples:
      otel-dns lab exec shop-1 -n shop -- getent ahosts www.example.org
      otel-dns lab exec shop/shop-1 -- cat /etc/resolv.conf
      otel-dns lab exec node -- python3 -m http.server
    """
    from otel_dns.lab import Lab
    from otel_dns.lab import process as processes

    with _clear_errors():
        attached = Lab.attach(name)
        place = _place(attached, pod, namespace)
        spec = place.spec(command, name=Path(command[0]).name)
        standard = [sys.stdin.fileno(), sys.stdout.fileno(), sys.stderr.fileno()]
        code = processes.run_attached(
            attached.session, spec, standard, timeout=None, started=_Forwarder().to
        )
    sys.exit(code if code >= 0 else 128 - code)


def _place(attached: "Lab", name: str, namespace: str | None) -> "Place":
    if name == "node" and namespace is None:
        return attached.node
    before, slash, after = name.partition("/")
    if slash:
        if namespace not in {None, before}:
            raise click.UsageError(f"{name} is in namespace {before}, not {namespace}")
        name, namespace = after, before
    found = [
        pod for pod in attached.pods() if pod.name == name and namespace in {None, pod.namespace}
    ]
    if len(found) > 1:
        named = ", ".join(f"{pod.namespace}/{pod.name}" for pod in found)
        raise click.UsageError(f"several Pods have this name: {named}; add -n NAMESPACE")
    return found[0] if found else attached.pod(name, namespace=namespace or "default")


class _Forwarder:
    """Hands this process's signals on to a program, also those that come before it runs."""

    def __init__(self) -> None:
        self._waiting: list[int] = []
        self._send: Callable[[int], None] = self._waiting.append
        for number in _FORWARDED:
            signal.signal(number, self._came)

    def to(self, send: Callable[[int], None]) -> None:
        """From now on, hand signals to this function."""
        self._send = send
        for number in self._waiting:
            self._came(number, None)

    def _came(self, number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(LabError):  # It has just ended.
            self._send(number)


@lab.command()
@_NAME
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
def status(name: str, as_json: bool) -> None:
    """Show the lab's Pods and programs."""
    from otel_dns.lab import Lab

    with _clear_errors():
        attached = Lab.attach(name)
        state = attached.status()
        pods = attached.pods()
    if as_json:
        click.echo(json.dumps(state, indent=2))
        return
    click.echo(f"Lab {name}: {state['files']}")
    click.echo("\nPods")
    for pod in pods:
        click.echo(f"  {_pod_name(pod):<34}{', '.join(pod.addresses)}")
    click.echo("\nPrograms")
    for process in state["processes"]:
        code = process["returncode"]
        how = "runs" if code is None else f"ended with {code}"
        outside = process["about"].get("outside", "")
        click.echo(
            f"  {process['name']:<18}{process['pod'] or 'node':<26}{how:<16}{outside}".rstrip()
        )


def _pod_name(pod: "Pod") -> str:
    return f"{pod.namespace}/{pod.name}"


@lab.command()
@_NAME
def down(name: str) -> None:
    """Stop a lab: end its programs, the last started first, and remove it."""
    from otel_dns.lab import Lab

    with _clear_errors():
        Lab.attach(name).stop()
    click.echo(f"Lab {name} is down.")


@lab.command("record")
@_USERNS
@click.option(
    "--scenario",
    type=click.Choice(RECORDED),
    default="demo",
    show_default=True,
    help="What is set up around the application.",
)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def record_(userns: bool, scenario: str, directory: Path, command: Sequence[str]) -> None:
    """Record into DIRECTORY what all parts send while an application runs.

    COMMAND is a Python program with its arguments (app.py, or python -m app), run in a Pod under
    opentelemetry-instrument; without one, examples/storefront. The files are listed in
    manifest.json.

    \b
    Examples:
      otel-dns lab record recording
      otel-dns lab record recording --scenario node-local-dns -- my_app.py --once
    """
    from otel_dns.lab.record import record

    with _clear_errors(), Steps() as steps:
        programs.get("coredns", steps.builds)
        steps.step("making the lab")
        manifest = record(
            directory,
            scenario=scenario,
            argv=command or None,
            userns=userns or None,
            progress=steps.step,
        )
    click.echo(f"Recorded: {manifest}")


@contextlib.contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except (LabError, OSError) as error:
        raise click.ClickException(str(error)) from None
    except subprocess.TimeoutExpired as error:
        raise click.ClickException(
            f"{error.cmd[0]} did not end within {error.timeout:g} s"
        ) from None
