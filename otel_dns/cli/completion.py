"""``otel-dns completion``: what a shell needs to complete commands and options."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the lines that let a shell complete `otel-dns`.

    \b
      bash:  otel-dns completion bash > ~/.local/share/bash-completion/completions/otel-dns
      zsh:   otel-dns completion zsh > "${fpath[1]}/_otel-dns"
      fish:  otel-dns completion fish > ~/.config/fish/completions/otel-dns.fish
    """
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(ctx.find_root().command, {}, "otel-dns", "_OTEL_DNS_COMPLETE").source())
