"""Several outputs, what one of them refuses, who may be trusted, and which names they see."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
import trustme
from msgspec.structs import replace

from otel_dns import semconv
from otel_dns.model import Span
from otel_dns.service.configuration import convert
from otel_dns.service.outputs.names_shown import reduction
from otel_dns.wire import otlp
from tests.service.support import Backend, balanced, refuses, serving
from tests.support.otlp import forward
from tests.support.processes import free_addresses
from tests.support.spans import APPLICATION, MS, lookup, servedns, span
from tests.support.waiting import eventually


def request(*spans: Span) -> bytes:
    return otlp.build((one.origin, one.raw) for one in spans)


def shop(name: str, service: str = "checkout") -> Span:
    return span(name, 0, 1, origin=otlp.origin_of(service))


def turned_away(address: str, raw: bytes) -> bool:
    try:
        forward(address, raw)
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.UNAVAILABLE
    return False


# -- several -----------------------------------------------------------------------------------


def test_each_output_gets_everything() -> None:
    with Backend() as first, Backend() as second, serving(first.address, second.address) as running:
        forward(running.otlp, request(shop("a")))
        forward(running.otlp, request(lookup(0, MS).span))
        for backend in (first, second):
            eventually(lambda backend=backend: len(backend.names) == 2, "both spans")
        balanced(running)


def test_one_that_is_down_costs_the_other_nothing_and_gets_what_its_queue_held() -> None:
    (late,) = free_addresses(1)
    names = [f"{number:03}" for number in range(40)]
    with Backend() as well, serving(well.address, late, outputs__1__queue=2_000) as running:
        for name in names:
            forward(running.otlp, request(shop(name)))
        eventually(lambda: well.names == names, "all at the one that is well")
        lost = running.count("spans_dropped_full")
        assert 0 < lost < len(names)
        with Backend(int(late.rpartition(":")[2])) as back:
            eventually(lambda: len(back.names) == len(names) - lost, "the rest at the other")
            balanced(running)


def test_only_when_all_are_full_senders_are_told_to_wait() -> None:
    nobody = "127.0.0.1:1"
    queues = {"outputs__0__queue": 1, "outputs__1__queue": 1}
    with serving(nobody, "127.0.0.1:2", shutdown=0.1, **queues) as running:
        assert sum(turned_away(running.otlp, request(shop("a"))) for _ in range(10)) > 5


# -- poison ------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT])
def test_a_poisoned_sender_costs_its_neighbours_nothing(code: grpc.StatusCode) -> None:
    spans = [shop(f"{sender}-{number}", sender) for sender in "abcdefgh" for number in range(8)]
    spans[27] = shop("poison", "d")
    with Backend(behave=refuses(code, b"poison")) as backend, serving(backend.address) as running:
        # Held up by a lookup, so that all of it travels together.
        forward(running.otlp, request(*spans))

        eventually(lambda: len(backend.names) == len(spans) - 1, "all others")

        running.counted(f"spans_refused_{code.name.lower()}", 1)
        assert backend.asked < 2 * 8
        balanced(running)


def test_what_is_too_large_for_an_output_goes_in_parts() -> None:
    spans = [shop("x" * 1000) for _ in range(50)]
    with (
        Backend(limit=20_000) as backend,
        serving(backend.address) as running,
    ):
        forward(running.otlp, request(*spans))
        eventually(lambda: len(backend.names) == 50, "all spans")
        running.counted("spans_sent", 50)
        balanced(running)


def test_a_refusal_that_is_nobodys_fault_is_not_split() -> None:
    behave = refuses(grpc.StatusCode.UNAUTHENTICATED)
    with Backend(behave=behave) as backend, serving(backend.address) as running:
        forward(running.otlp, request(shop("a"), shop("b")))
        eventually(lambda: running.count("spans_refused_unauthenticated") == 2, "the count")
        assert backend.asked == 1
        balanced(running)


# -- TLS, tokens, headers ----------------------------------------------------------------------


def issue(authority: trustme.CA, directory: Path, name: str) -> tuple[str, str]:
    """A certificate and its key, as files."""
    issued = authority.issue_cert(name)
    issued.private_key_pem.write_to_path(directory / f"{name}.key")
    (directory / f"{name}.pem").write_bytes(
        b"".join(each.bytes() for each in issued.cert_chain_pems)
    )
    return str(directory / f"{name}.pem"), str(directory / f"{name}.key")


def trust(authority: trustme.CA, directory: Path) -> str:
    authority.cert_pem.write_to_path(directory / "ca.pem")
    return str(directory / "ca.pem")


@contextmanager
def secured(authority: trustme.CA, directory: Path) -> Iterator[Backend]:
    """A backend that asks for a client's certificate."""
    certificate, key = issue(authority, directory, "localhost")
    credentials = grpc.ssl_server_credentials(
        [(Path(key).read_bytes(), Path(certificate).read_bytes())],
        Path(trust(authority, directory)).read_bytes(),
        require_client_auth=True,
    )
    with Backend(credentials=credentials) as backend:
        yield backend


def test_mtls_with_headers_and_a_token_all_read_anew(tmp_path: Path) -> None:
    authority = trustme.CA()
    (tmp_path / "token").write_text("first\n")
    with secured(authority, tmp_path) as backend:
        certificate, key = issue(authority, tmp_path, "client")
        tls = {"ca": str(tmp_path / "ca.pem"), "certificate": certificate, "key": key}
        with serving(
            f"localhost:{backend.port}",
            outputs__0__tls=tls,
            outputs__0__headers={"X-Scope": "shop"},
            outputs__0__token_file=str(tmp_path / "token"),
            outputs__0__compression="gzip",
        ) as running:
            forward(running.otlp, request(shop("a")))
            eventually(lambda: backend.names == ["a"], "the span")
            assert backend.metadata["x-scope"] == "shop"
            assert backend.metadata["authorization"] == "Bearer first"
            (tmp_path / "token").write_text("second\n")
            issue(authority, tmp_path, "client")

            def again() -> bool:
                forward(running.otlp, request(shop("b")))
                eventually(lambda: len(backend.names) > before, "another span")
                return backend.metadata["authorization"] == "Bearer second"

            before = len(backend.names)
            eventually(again, "the new token")
            balanced(running)


def test_an_endpoint_that_nobody_vouches_for_gets_nothing(tmp_path: Path) -> None:
    with secured(trustme.CA(), tmp_path) as backend:
        (tmp_path / "other").mkdir()
        tls = {"ca": trust(trustme.CA(), tmp_path / "other")}
        address = f"localhost:{backend.port}"
        with serving(address, outputs__0__tls=tls, shutdown=0.1) as running:
            forward(running.otlp, request(shop("a")))
            eventually(lambda: running.count("send_failures"), "a failure")
        assert not backend.asked


def test_a_file_that_is_not_there_is_named_at_the_start(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match=r"the CA /nowhere/ca\.pem cannot be read"),
        serving("127.0.0.1:1", outputs__0__tls={"ca": "/nowhere/ca.pem"}),
    ):
        pass


# -- names -------------------------------------------------------------------------------------


def shown(names: dict[str, object], *spans: Span) -> list[otlp.SpanView]:
    settings = convert({"outputs": [{"endpoint": "a:1", "names": names}]}).outputs[0].names
    reduce = reduction(settings)
    assert reduce is not None
    return otlp.decode(reduce(request(*spans)))


NAMED = span(
    "dns.lookup", 0, 1, origin=APPLICATION,
    tail=otlp.string_attribute(semconv.DNS_QUESTION_NAME, "secret.www.example.co.uk")
    + otlp.string_attribute("kept", "x")
    + otlp.event_field(1, "secret") + b"\x7a\x0a\x12\x06secret\x18\x02" + b"\xf8\x3f\x01",
)  # fmt: skip


@pytest.mark.parametrize(
    ("show", "expected"), [("registered_domain", "example.co.uk"), ("none", None)]
)
def test_names_are_reduced_and_what_else_may_say_them(show: str, expected: str | None) -> None:
    root = servedns(0, 1, name="secret.www.example.co.uk.")
    found, server = shown({"show": show}, NAMED, root)
    assert found.attributes.get(semconv.DNS_QUESTION_NAME) == expected
    assert server.attributes.get(semconv.COREDNS_NAME) == expected
    assert found.attributes["kept"] == "x"
    assert found.error
    settings = convert({"outputs": [{"endpoint": "a:1", "names": {"show": show}}]}).outputs[0]
    reduced = reduction(settings.names)(request(NAMED, root))  # type: ignore[misc]
    assert b"secret" not in reduced
    assert b"\xf8\x3f\x01" in reduced


def test_hashes_are_the_same_for_a_name_and_need_the_key(tmp_path: Path) -> None:
    keys = []
    for text in ("one", "two"):
        (tmp_path / text).write_text(text)
        names = {"show": "hash", "hash_key_file": str(tmp_path / text)}
        found, server = shown(names, NAMED, servedns(0, 1, name="secret.WWW.example.co.uk."))
        assert found.attributes[semconv.DNS_QUESTION_NAME] == server.attributes["coredns.io/name"]
        keys.append(found.attributes[semconv.DNS_QUESTION_NAME])
    assert keys[0] != keys[1]


def test_zones_can_stay_whole() -> None:
    names = {"show": "none", "keep_zones": ["cluster.local."]}
    inside = servedns(0, 1, name="db.shop.svc.cluster.local.")
    found, outside = shown(names, inside, servedns(0, 1, name="notcluster.local."))
    assert found.attributes["coredns.io/name"] == "db.shop.svc.cluster.local."
    assert "coredns.io/name" not in outside.attributes


def test_names_of_namespaces_can_stay_whole() -> None:
    names = {"show": "none", "keep_namespaces": ["shop", "kube-system"]}

    def of(namespace: str, one: Span) -> Span:
        told = otlp.string_attribute(semconv.K8S_NAMESPACE_NAME, namespace, field=1)
        return replace(one, origin=one.origin._replace(resource=one.origin.resource + told))

    joined = servedns(0, 1, name="a.shop.")
    joined = replace(
        joined, raw=joined.raw + otlp.string_attribute(semconv.SEARCH_NAMESPACE, "shop")
    )
    # CoreDNS's own namespace says nothing of who asked.
    strangers = of("kube-system", servedns(0, 1, name="b.bank."))
    spans = [of("shop", NAMED), of("bank", NAMED), of("kube-system", joined), strangers]
    found = [
        one.attributes.get(semconv.DNS_QUESTION_NAME) or one.attributes.get(semconv.COREDNS_NAME)
        for one in shown(names, *spans)
    ]
    assert found == ["secret.www.example.co.uk", "a.shop.", None, None]


def test_only_the_output_that_wants_it_has_names_reduced() -> None:
    with (
        Backend() as whole,
        Backend() as reduced,
        serving(whole.address, reduced.address, outputs__1__names={"show": "none"}) as running,
    ):
        forward(running.otlp, request(lookup(0, MS, name="db").span))
        for backend, expected in ((whole, True), (reduced, False)):
            eventually(lambda backend=backend: backend.spans, "the lookup")
            keys = {each.key for each in backend.spans[0].attributes}
            assert (semconv.DNS_QUESTION_NAME in keys) is expected
        balanced(running)
