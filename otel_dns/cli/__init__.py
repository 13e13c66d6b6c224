"""The command line: ``otel-dns ...``, one file a command, each loaded when it is called."""

import importlib
import os
from typing import Any, Final

import click

import otel_dns

# What gRPC's core has to say, of a busy port for one, comes as an error of ours too. It looks when
# it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

_COMMANDS: Final = (
    "bench", "check-corefile", "completion", "demo", "export", "lab", "page", "programs", "query",
    "replay", "report", "serve", "show", "slow", "top", "watch",
)  # fmt: skip
"""Each is the function of its name in the module of its name, `_` for `-`."""
_OF_THE_LAB: Final = frozenset({"bench", "demo", "lab"})


class _Commands(click.Group):
    """Loads a command when it is called: `serve` needs no lab, the lab no service."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        try:
            module = importlib.import_module(f"otel_dns.cli.{name}")
        except ModuleNotFoundError as missing:
            if missing.name is None or missing.name.startswith("otel_dns"):
                raise
            return _needing_more(cmd_name, missing.name)
        command: click.Command = getattr(module, name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # to a script no failure: as of a program that SIGINT ended
            click.echo("\ninterrupted", err=True)
            ctx.exit(130)


def _needing_more(name: str, module: str) -> click.Command:
    """Give what stands for a command whose packages are not installed."""
    extra = "lab" if name in _OF_THE_LAB else "history"
    needs = f"needs more packages: pip install 'otel-dns[{extra}]'"

    @click.command(
        name,
        help=f"({needs})",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True},
    )
    @click.argument("args", nargs=-1)
    def refuse(args: tuple[str, ...]) -> None:  # noqa: ARG001 whatever they are
        raise click.ClickException(f"`otel-dns {name}` {needs} (there is no {module} here)")

    return refuse


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "OTEL_DNS"},
)
@click.version_option(otel_dns.__version__, prog_name="otel-dns")
def main() -> None:
    """Tell, with proof, why a DNS lookup in Kubernetes was slow or failed.

    Exit codes: 0, done; 1, it could not be done; 2, wrong arguments; 130, interrupted. What a
    command has beside these is in its help.
    """
