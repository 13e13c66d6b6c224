"""Corefiles taken apart as CoreDNS does it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otel_dns.corefile import CorefileError, Directive, ServerBlock, parse


def test_blocks_directives_properties() -> None:
    text = """\
# a comment
example.org:53, example.net {   # and another
    log . "{common} {/trace/traceid}"
    trace zipkin http://10.0.0.1:9411/api/v2/spans {
        every 100
        view {
            deep 1
        }
    }
}
tls://. {
    forward . 10.0.0.2
}
"""
    assert parse(text) == [
        ServerBlock(
            ("example.org:53", "example.net"),
            (
                Directive("log", (".", "{common} {/trace/traceid}"), 3),
                Directive(
                    "trace",
                    ("zipkin", "http://10.0.0.1:9411/api/v2/spans"),
                    4,
                    (Directive("every", ("100",), 5), Directive("view", (), 6)),
                ),
            ),
            2,
        ),
        ServerBlock(("tls://.",), (Directive("forward", (".", "10.0.0.2"), 12),), 11),
    ]


def test_snippets_are_put_in() -> None:
    (block,) = parse(
        "(common) {\n  errors\n  log\n}\n. {\n  import common\n  import other.conf\n}\n"
    )
    assert [one.name for one in block.directives] == ["errors", "log", "import"]


def test_snippets_that_name_one_another_come_to_an_end() -> None:
    (block,) = parse("(a) {\n import b\n}\n(b) {\n import a\n}\n. {\n import a\n}\n")
    assert [one.name for one in block.directives] == ["import"]
    many = "".join(f"(s{n}) {{\n" + f" import s{n - 1}\n" * 9 + "}\n" for n in range(1, 9))
    with pytest.raises(CorefileError, match="imports"):
        parse(f"(s0) {{\n log\n}}\n{many}. {{\n import s8\n}}\n")


def test_one_block_may_go_without_braces_and_keys_over_lines() -> None:
    assert parse(".:53\nlog\nerrors\n")[0].keys == (".:53",)
    assert parse("a.org,\nb.org {\n log\n}\n")[0].keys == ("a.org", "b.org")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (". {\n log\n", "line 1: this block is not closed"),
        (". {\n trace {\n every 1\n}\n", "line 1: this block is not closed"),
        (". {\n trace {\n every 1\n", "line 2: the block of 'trace' is not closed"),
        ('. {\n log .  "{common}\n}\n', "line 2: a quotation mark"),
        (". {\n log\n}\n}\n", "line 4: '}' where a server block should begin"),
        (". {\n log\n}\na.org\n", "line 4: a server block needs braces"),
        ("}\n", "line 1: '}' where a server block should begin"),
        (". { log }\n", "line 1: what is in a block begins on the line after its '{'"),
        (". { log\n}\n", "line 1: what is in a block begins on the line after its '{'"),
        ("apiVersion: v1\ndata:\n  Corefile: |\n    . {\n    }\n", "a Kubernetes manifest"),
        ('{\n  "kind": "ConfigMap"\n}\n', "a Kubernetes manifest"),
        ("\x7fELF\x02\x01\x00", "no text"),
        ("{\n log\n}\n", "line 1: a server block without a zone"),
        (". {\n {\n}\n", "line 2: '{' where a plugin's name should be"),
    ],
)
def test_what_is_no_corefile(text: str, why: str) -> None:
    with pytest.raises(CorefileError, match=why):
        parse(text)


@example(",")
@example(". {\n {")
@given(st.text(alphabet='. {}\n"#,\\abc(import)$', max_size=80) | st.text(max_size=80))
def test_any_text_is_a_corefile_or_not(text: str) -> None:
    try:
        blocks = parse(text)
    except CorefileError:
        return
    assert all(block.keys for block in blocks)
