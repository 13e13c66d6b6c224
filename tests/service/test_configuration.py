"""What a configuration may say, and what is said of one that may not."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import yaml
from click.testing import CliRunner

from otel_dns.cli import main
from otel_dns.service import configuration
from otel_dns.service.configuration import ConfigurationError
from otel_dns.service.configuration.quantities import Duration, Size
from otel_dns.service.configuration.settings import Section, ServeSettings

ROOT = Path(__file__).parents[2]

FULL = """
receivers:
  otlp: {listen: "0.0.0.0:4417", max_request: 8MiB}
  dnstap:
    listen: ["tls:0.0.0.0:6000", "unix:/run/dnstap.sock"]
    tls: {certificate: tls.crt, key: tls.key}
join: {settle: 1500ms}
export: {what: joined, unmatched: {keep: one_in, one_in: 50}}
outputs:
  - endpoint: jaeger:4317
  - {name: archive, endpoint: archive:4317, queue: 1GiB, tls: {}, give_up_after: 1h}
"""


def test_a_file_is_read_with_its_units(tmp_path: Path) -> None:
    file = tmp_path / "otel-dns.yaml"
    file.write_text(FULL)
    settings = configuration.load(file)
    assert settings.receivers.otlp.max_request == 8 << 20
    assert settings.join.settings().settle_ns == 1_500_000_000
    assert [output.label for output in settings.outputs] == ["jaeger:4317", "archive"]
    assert settings.outputs[1].give_up_after == 3600
    assert settings.outputs[0].tls is None
    assert settings.outputs[1].tls is not None


def test_options_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "otel-dns.yaml"
    file.write_text(FULL)
    environment = {
        "OTEL_DNS__JOIN__SETTLE": "2s",
        "OTEL_DNS__JOIN__TOLERANCE": "5ms",
        "OTEL_DNS__OUTPUTS__1__QUEUE": "2GiB",
        "OTEL_DNS__OUTPUTS__2__ENDPOINT": "third:4317",
        "OTEL_DNS_SERVE_OUTPUT": "not for us",
    }
    settings = configuration.load(file, environment, [("join.settle", "3s")])
    assert settings.join.settle == 3
    assert settings.join.tolerance == 0.005
    assert settings.outputs[1].queue == 2 << 30
    assert settings.outputs[2].endpoint == "third:4317"


def test_a_list_of_more_than_ten_in_the_environment() -> None:
    environment = {f"OTEL_DNS__OUTPUTS__{number}__ENDPOINT": f"a{number}:1" for number in range(12)}
    settings = configuration.load(None, environment)
    assert [output.endpoint for output in settings.outputs] == list(environment.values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("join: {setle: 7s}", r"join\.setle: there is no such key; did you mean settle\?"),
        ("outptus: []", r"outptus: .* did you mean outputs\?"),
        ("outputs: [{endpoint: a:1, tls: {cert: x}}]", r"outputs\[0\]\.tls\.cert: .*certificate"),
        ("join: {settle: soon}", r"join\.settle: 'soon' will not do: a time is wanted.*7s"),
        ("join: {settle: -1}", r"join\.settle: -1 .* a time is wanted"),
        ("join: {settle: .nan}", r"join\.settle: nan .* a time is wanted"),
        ("join: {max_lookups: 0}", r"join\.max_lookups: 0 .* whole number is wanted, 1 or more"),
        ("page: {threads: 65}", r"page\.threads: 65 .* 64 or less"),
        ("join: {1: 2}", r"join: keys are text; put quotes around"),
        ("join: &a [[*a]]", r"join: .*\.\.\..* keys are wanted: settle,"),
        ("receivers: {coredns_services: dns}", r"_services: 'dns' .* list .* such as \['dns'\]"),
        ("receivers: {otlp: {token_file: ''}}", r"otlp\.token_file: '' .* must not be empty"),
        ("receivers: {http: {listen: 'unix:/a'}}", r"http\.listen: HOST:PORT is wanted"),
        ("receivers: {dnstap: {listen: ['tls:a:1']}}", r"dnstap\.tls: tls:a:1 wants a certificate"),
        ("receivers: {dnstap: {listen: ['tls:unix:/a']}}", r"a Unix socket has no TLS"),
        (
            "receivers: {otlp: {listen: a:1}, http: {listen: a:1}}",
            r"a:1 is taken by receivers\.otlp",
        ),
        ("receivers: {dnstap: {listen: [127.0.0.1:8053]}}", r"page\.listen: .* is taken by receiv"),
        ("receivers: {http: {listen: '::1:80'}}", r"'::1:80' .* in brackets, such as \[::1\]:"),
        ("receivers: {http: {max_request: 9}}", r"http\.max_request: 9 .* 1KiB at least"),
        ("memory_limit: 512", r"memory_limit: 512 .* 16MiB at least"),
        ("metrics: {interval: 0}", r"metrics\.interval: 0 will not do: 1s at least"),
        ("metrics: {output: 'ftp://a'}", r"of URLs, http:// and https:// are taken"),
        ("page: {jaeger: a}", r"page\.jaeger: 'a' will not do: a URL is wanted"),
        ("page: {listen: 'a:1', token_file: b}", r"page\.listen: 'a:1' .* an address is wanted"),
        ("outputs: [{endpoint: 'a b:1'}]", r"endpoint: 'a b:1' will not do: HOST:PORT"),
        ("outputs: [{endpoint: a:1, timeout: 0}]", r"outputs\[0\]\.timeout: 0 .* 100ms at least"),
        ("outputs: [{endpoint: a:1, headers: {x: 5}}]", r"headers\[\.\.\.\]: .*put it in quotes"),
        ("outputs: [{endpoint: a:1, headers: {x y: z}}]", r"headers: 'x y' is no name"),
        ("outputs: [{endpoint: a:1, headers: {x: é}}]", r"headers\.x: one line of visible ASCII"),
        ("memory_limit: lots", r"memory_limit: 'lots' .* a size is wanted.*64MiB"),
        ("receivers: {otlp: {listen: '4317'}}", r"receivers\.otlp\.listen: .*HOST:PORT is wanted"),
        ("receivers: {otlp: {listen: 'http://a:1'}}", r"a URL is not wanted here; give a:1"),
        ("export: {what: some}", r"export\.what: 'some' .* one of lookups, notable, joined, all"),
        ("outputs: []", r"outputs: there must be one"),
        ("outputs: [{}]", r"outputs\[0\]: missing is `endpoint`"),
        ("outputs: [{endpoint: 127.0.0.1:4417}]", r"outputs\[0\]\.endpoint: .* in circles"),
        ("receivers: {otlp: {listen: '0.0.0.0:4317'}}", r"outputs\[0\]\.endpoint: .* in circles"),
        ("outputs: [{endpoint: localhost:4417}]", r"outputs\[0\]\.endpoint: .* in circles"),
        ("outputs: [{endpoint: a:1}, {endpoint: a:1}]", r"outputs\[1\]\.name: 'a:1' is taken"),
        ("outputs: [{endpoint: a:1, names: {show: hash}}]", r"hash_key_file: a key is wanted"),
        ("outputs: [{endpoint: a:1, tls: {key: x}}]", r"certificate and key go together"),
        ("- a", "must hold sections"),
        ("a: [", "is no YAML"),
    ],
)
def test_a_mistake_is_told_with_its_key_and_what_is_wanted(tmp_path, text, said) -> None:
    file = tmp_path / "otel-dns.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        configuration.load(file)


WHOLE = """
receivers:
  otlp: {tls: {certificate: a, key: b}}
  http: {tls: {certificate: a, key: b}}
  dnstap: {listen: [127.0.0.1:1], tls: {certificate: a, key: b}}
outputs: [{endpoint: a:1, tls: {ca: a}, names: {show: none}}]
"""
"""With every section in it."""


def steps_of(section: Section) -> Iterator[tuple[str | int, ...]]:
    """The ways to every key, those of sections among them."""
    for name in section.__struct_fields__:
        yield (name,)
        value = getattr(section, name)
        if isinstance(value, tuple) and value and isinstance(value[0], Section):
            yield from ((name, 0, *more) for more in steps_of(value[0]))
        elif isinstance(value, Section):
            yield from ((name, *more) for more in steps_of(value))


@pytest.mark.parametrize("value", [[[]], -1.5, {"a": {}}])
def test_whatever_key_has_a_wrong_value_is_told(value: object) -> None:
    for *way, last in steps_of(configuration.convert(yaml.safe_load(WHOLE))):
        data = inner = yaml.safe_load(WHOLE)
        for step in way:
            inner = inner[step] if isinstance(step, int) else inner.setdefault(step, {})
        inner[last] = value
        key = ".".join(map(str, (*way, last))).replace(".0", "[0]")
        with pytest.raises(ConfigurationError) as found:
            configuration.convert(data)
        said = str(found.value)
        assert said.startswith(key)
        assert re.search(" wanted|there is no such key; ", said), said
        assert "Expected" not in said


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"join: {}\n# \xff", r"otel-dns\.yaml, line 2: text is wanted in UTF-8"),
        (b"#" * (1 << 20) + b"\n", r"otel-dns\.yaml is larger than 1 MiB"),
        (b"[" * 3000, r"otel-dns\.yaml is no YAML"),
        (b"join: \0", r"otel-dns\.yaml is no YAML"),
    ],
    ids=["no UTF-8", "huge", "deep", "a zero byte"],
)
def test_files_that_are_no_configuration(tmp_path: Path, raw: bytes, said: str) -> None:
    file = tmp_path / "otel-dns.yaml"
    file.write_bytes(raw)
    with pytest.raises(ConfigurationError, match=said):
        configuration.load(file)


@pytest.mark.parametrize("raw", [b"", b"\n# nothing\n", b"\xef\xbb\xbf---\n"])
def test_an_empty_file_is_as_by_default(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "otel-dns.yaml"
    file.write_bytes(raw)
    assert configuration.load(file) == ServeSettings()


@pytest.mark.parametrize(
    ("name", "value"),
    [("OTEL_DNS__OUTPUTS__5__ENDPOINT", "a:1"), ("OTEL_DNS__MEMORY_LIMIT__X", "1"),
     ("OTEL_DNS__JOIN__SETTLE", "[")],
)  # fmt: skip
def test_a_variable_that_fits_nowhere_is_said(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError):
        configuration.load(None, {"OTEL_DNS__MEMORY_LIMIT": "1GiB", name: value})


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("7s", 7), ("1.5m", 90), ("2h", 7200), (3, 3), ("3", 3)]
)
def test_durations(text: object, seconds: float) -> None:
    assert Duration.parse(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("1KiB", 1024), ("64MiB", 64 << 20), ("1 GB", 10**9), (5, 5), ("7b", 7)]
)
def test_sizes(text: object, size: int) -> None:
    assert Size.parse(text) == size


def test_what_check_shows_makes_the_same_settings(tmp_path: Path) -> None:
    file = tmp_path / "otel-dns.yaml"
    file.write_text(FULL)
    done = CliRunner().invoke(main, ["serve", "--config", str(file), "--check"])
    assert done.exit_code == 0
    assert configuration.convert(yaml.safe_load(done.stdout)) == configuration.load(file)


def test_check_ends_with_2_on_a_mistake(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["serve", "--check", "--settle", "soon"])
    assert done.exit_code == 2
    assert "join.settle: 'soon'" in done.stderr


def test_the_schema_names_every_section_and_how_to_write_a_time() -> None:
    done = CliRunner().invoke(main, ["serve", "--print-schema"])
    schema = json.loads(done.stdout)
    sections = schema["$defs"]["ServeSettings"]["properties"]
    assert set(sections) == set(ServeSettings.__struct_fields__)
    assert "500ms" in schema["$defs"]["JoinSection"]["properties"]["settle"]["description"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("join: {settle: 3s}\njoin: {tolerance: 1ms}\n", "join is given twice"),
        ("outputs:\n - {endpoint: a:1\n", "otel-dns.yaml is no YAML"),
        ("receivers: {limits: {read: 0s}}\n", "receivers.limits.read: 0 will not do: 1s at least"),
        ("join: {relays: [10.0.0.300]}\n", "join.relays[0]: '10.0.0.300' will not do"),
    ],
)
def test_mistakes_that_look_like_none(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "otel-dns.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=re.escape(said)) as found:
        configuration.load(file)
    assert "unicode string" not in str(found.value)


def test_a_section_of_which_nothing_is_said(tmp_path: Path) -> None:
    file = tmp_path / "otel-dns.yaml"
    file.write_text("join:\noutputs:\n")
    assert configuration.load(file) == ServeSettings()


@pytest.mark.parametrize("what", ["the CA", "the token", "the certificate", "already in use"])
def test_what_keeps_it_from_starting_is_said_in_one_line(tmp_path: Path, what: str) -> None:
    missing = str(tmp_path / "missing")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1] if what == 'already in use' else 0}"
        otlp: dict[str, object] = {"listen": listen}
        output: dict[str, object] = {"endpoint": "127.0.0.1:1"}
        if what == "the CA":
            output["tls"] = {"ca": missing}
        elif what == "the token":
            otlp["token_file"] = missing
        elif what == "the certificate":
            otlp["tls"] = {"certificate": missing, "key": missing}
        settings = {
            "receivers": {"otlp": otlp, "http": {"listen": "127.0.0.1:0"}},
            "outputs": [output], "history": {"keep": False},
        }  # fmt: skip
        file = tmp_path / "otel-dns.yaml"
        file.write_text(yaml.safe_dump(settings))
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "otel_dns", "serve", "--config", str(file)],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert " CRITICAL " in line
    assert what in line
    assert ("another address" in line) == (what == "already in use")


DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DOTTED = re.compile(r"`((?:receivers|join|export|history|page|metrics|telemetry)\.[a-z_.]*[a-z_])")


def test_the_documents_name_keys_that_there_are() -> None:
    known = set(keys_of(ServeSettings()))
    texts = {document.name: document.read_text() for document in DOCUMENTS}
    named = {(name, key) for name, text in texts.items() for key in DOTTED.findall(text)}
    assert len(named) > 10
    assert {(name, key) for name, key in named if key not in known} == set()


def keys_of(section: Section, at: str = "") -> Iterator[str]:
    for field in msgspec.structs.fields(section):
        yield at + field.name
        value = getattr(section, field.name)
        if isinstance(value, Section):
            yield from keys_of(value, f"{at}{field.name}.")


def test_the_sample_in_the_documents_can_be(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "processor.md").read_text()
    (sample,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "otel-dns.yaml").write_text(sample)
    assert len(configuration.load(tmp_path / "otel-dns.yaml").outputs) == 2
