"""The command line: ``otel-dns ...``, one file a command, each loaded when it is called."""

import importlib
import os
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

import otel_dns

# What gRPC's core has to say, of a busy port for one, comes as an error of ours too. It looks when
# it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

_COMMANDS: Final = {
    "bench": "Measure how right and how fast otel-dns is.",
    "check-corefile": "Tell what a Corefile makes known, what it costs, its traps.",
    "completion": "Print what a shell needs to complete commands.",
    "demo": "Show joined DNS traces of real programs, in a lab.",
    "export": "Write lookups as JSON lines, CSV or Parquet.",
    "lab": "Run a real DNS test bed on this machine.",
    "page": "Serve the page on a history.",
    "programs": "Show the real programs of the lab; get them.",
    "query": "Ask the history in SQL.",
    "replay": "Join recordings, for post-mortems.",
    "report": "Report a period: what is wrong, who suffers, advice.",
    "serve": "Run the processor: join lookups with CoreDNS's spans.",
    "show": "Draw one lookup: queries, plugins, breakdown.",
    "slow": "List the slowest lookups.",
    "top": "Show who looks up most, fails most or waits longest.",
    "watch": "Tell who asked for given names.",
}
"""Each is the function of its name in the module of its name, `_` for `-`. Their summaries are here
so that a list of them loads none."""
_OF_THE_LAB: Final = frozenset({"bench", "demo", "lab"})


class _Commands(click.Group):
    """Loads a command when it is called: `serve` needs no lab, the lab no service."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 click's signature
        return list(_COMMANDS)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        known = [
            CompletionItem(name, help=summary)
            for name, summary in _COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return known + click.Command.shell_complete(self, ctx, incomplete)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        try:
            module = importlib.import_module(f"otel_dns.cli.{name}")
        except ModuleNotFoundError as missing:
            if not _is_optional(missing):
                raise
            return _refusing(cmd_name, _needs(cmd_name, missing))
        command: click.Command = getattr(module, name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as missing:
            if ctx.invoked_subcommand is None or not _is_optional(missing):
                raise
            raise _needs(ctx.invoked_subcommand, missing) from None
        except KeyboardInterrupt:  # to a script no failure: as of a program that SIGINT ended
            click.echo("\ninterrupted", err=True)
            ctx.exit(130)


def _is_optional(missing: ModuleNotFoundError) -> bool:
    return missing.name is not None and not missing.name.startswith("otel_dns")


def _needs(name: str, missing: ModuleNotFoundError) -> click.ClickException:
    """Say what a command needs whose packages are not installed."""
    extra = "lab" if name in _OF_THE_LAB else "history"
    needs = f"needs more packages: pip install 'otel-dns[{extra}]'"
    return click.ClickException(f"`otel-dns {name}` {needs} (there is no {missing.name} here)")


def _refusing(name: str, why: click.ClickException) -> click.Command:
    """Give what stands for a command that cannot be loaded."""

    @click.command(
        name,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True},
    )
    @click.argument("args", nargs=-1)
    def refuse(args: tuple[str, ...]) -> None:  # noqa: ARG001 whatever they are
        raise why

    return refuse


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "OTEL_DNS"},
)
@click.version_option(otel_dns.__version__, prog_name="otel-dns")
def main() -> None:
    """Tell, with proof, why a DNS lookup in Kubernetes was slow or failed.

    Exit codes: 0, done; 1, it could not be done; 2, wrong arguments; 130, interrupted; 141, nobody
    reads what it writes. What a command has beside these is in its help.
    """
