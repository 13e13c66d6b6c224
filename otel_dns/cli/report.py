"""``otel-dns report``: a period in one document, as text, HTML or JSON."""

from pathlib import Path

import click

from otel_dns.cli.asking import asks, history_option, open_history, period_options


@click.command()
@period_options()
@click.option(
    "--format", "kind", type=click.Choice(["text", "html", "json"]), default="text",
    show_default=True,
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
@history_option
@asks
def report(
    since_ns: int | None, until_ns: int | None, kind: str, output: Path | None,
    place: Path | str, *, as_json: bool,
) -> None:  # fmt: skip
    """Report a period: what is wrong and since when, who suffers, where the time goes, advice.

    \b
      otel-dns report --since 2026-11-25T10:30 --until 2026-11-25T11:00
      otel-dns report --since 1d --format html -o dns.html
    """
    from otel_dns.cli.answers import console, print_json
    from otel_dns.cli.report_document import Report

    kind = "json" if as_json else kind
    with open_history(place) as history:
        made = Report(history, since_ns, until_ns)
        if kind == "json" and output is None:
            print_json(made.data())
            return
        if kind == "text" and output is None:
            out = console()
            out.print(made.drawn(out.width))
            return
        text = made.written(kind)
    if output is None:
        click.echo(text)
    else:
        output.write_text(text, encoding="utf-8")
        click.echo(f"written to {output}", err=True)
