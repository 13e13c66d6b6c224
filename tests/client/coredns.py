"""A real CoreDNS on loopback that answers over everything that dnspython speaks."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseServer, ThreadingTCPServer

import trustme

from otel_dns.lab.capture import Sink, dnstap_handler, zipkin_handler
from otel_dns.model import Message
from otel_dns.wire import dnstap, frame_streams
from tests.support.processes import free_addresses, running
from tests.support.programs import require
from tests.support.waiting import eventually

ZONE = """\
$ORIGIN shop.example.
$TTL 60
@            IN SOA ns hostmaster 1 7200 1800 86400 60
@            IN NS  ns
@            IN MX  10 mail
ns           IN A   127.0.0.1
web          IN A   10.1.0.1
web          IN A   10.1.0.2
www          IN CNAME web
storefront   IN A   10.1.0.4
Mixed        IN A   10.1.0.3
"""
MANY = "".join(f"many IN A 10.2.0.{number}\n" for number in range(60))

COREFILE = """\
(common) {{
    metadata
    errors
    trace zipkin {zipkin} {{
        every 1
        service coredns
    }}
    import tap
}}
(tap) {{
    dnstap tcp://{dnstap} full {{
        extra "{{/trace/traceid}} {{>id}} {{port}}"
    }}
}}
.:{plain} {{
    health {health}
    import common
    file {zone} shop.example
    template ANY ANY refused.example {{
        rcode REFUSED
    }}
    template ANY ANY servfail.example {{
        rcode SERVFAIL
    }}
}}
silent.example:{plain} {{
    import common
    erratic {{
        drop 1
    }}
}}
slow.example:{plain} {{
    import common
    erratic {{
        delay 1 100ms
    }}
}}
tls://.:{tls} {{
    import common
    tls {certificate} {key}
    file {zone} shop.example
}}
https://.:{https} {{
    import common
    tls {certificate} {key}
    file {zone} shop.example
}}
https://.:{https_shared} {{
    metadata
    trace zipkin {zipkin} {{
        every 1
        service coredns
        client_server
    }}
    import tap
    tls {certificate} {key}
    file {zone} shop.example
}}
https3://.:{https3} {{
    import common
    tls {certificate} {key}
    file {zone} shop.example
}}
quic://.:{quic} {{
    import common
    tls {certificate} {key}
    file {zone} shop.example
}}
"""


@dataclass
class CoreDns:
    """Where it answers, and what it told of the queries it got."""

    plain: int
    tls: int
    https: int
    https_shared: int
    """Over HTTPS too; its spans share the span id of who asked (``client_server``)."""
    https3: int
    quic: int
    authority: Path
    directory: Path

    def messages(self, kind: str = "CQ", **like: object) -> list[Message]:
        """dnstap's messages so far whose attributes are like this."""
        frames = frame_streams.Decoder().feed((self.directory / "dnstap.fstrm").read_bytes())
        decoded = [
            dnstap.decode(frame.payload)
            for frame in frames
            if isinstance(frame, frame_streams.Data)
        ]
        return [
            one
            for one in decoded
            if isinstance(one, Message)
            and one.kind == kind
            and all(getattr(one, name) == value for name, value in like.items())
        ]

    def message(self, **like: object) -> Message:
        """The one query like this, as soon as CoreDNS has told of it."""
        (found,) = eventually(lambda: self.messages(**like), f"dnstap of {like}")
        return found

    def spans(self) -> list[dict[str, object]]:
        """CoreDNS's own spans so far, as Zipkin has them."""
        return [span for body in self.bodies() for span in json.loads(body)]

    def bodies(self) -> list[bytes]:
        """What CoreDNS has posted so far, each a JSON list of spans."""
        *whole, _being_written = (self.directory / "zipkin.jsonl").read_bytes().split(b"\n")
        return whole


@contextmanager
def coredns(directory: Path) -> Iterator[CoreDns]:
    """Run it until the block ends."""
    program = require("coredns")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    files = {
        name: directory / name for name in ("ca.pem", "cert.pem", "key.pem", "zone", "Corefile")
    }
    authority.cert_pem.write_to_path(files["ca.pem"])
    certificate.cert_chain_pems[0].write_to_path(files["cert.pem"])
    certificate.private_key_pem.write_to_path(files["key.pem"])
    files["zone"].write_text(ZONE + MANY)
    sinks = [Sink(directory / name) for name in ("dnstap.fstrm", "zipkin.jsonl")]
    tap = ThreadingTCPServer(("127.0.0.1", 0), dnstap_handler(sinks[0]))
    zipkin = ThreadingHTTPServer(("127.0.0.1", 0), zipkin_handler(sinks[1]))
    for server in (tap, zipkin):
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
    addresses = dict(
        zip(
            ("plain", "tls", "https", "https_shared", "https3", "quic", "health"),
            free_addresses(7),
            strict=True,
        )
    )
    ports = {name: int(address.rpartition(":")[2]) for name, address in addresses.items()}
    files["Corefile"].write_text(
        COREFILE.format(
            **ports | {"health": addresses["health"]},
            zipkin=f"http://{_address(zipkin)}/api/v2/spans",
            dnstap=_address(tap),
            zone=files["zone"],
            certificate=files["cert.pem"],
            key=files["key.pem"],
        )
    )
    command = [program, "-conf", files["Corefile"]]
    ready = f"http://{addresses['health']}/health"
    del ports["health"]
    try:
        log = directory / "coredns.log"
        with running(command, env={}, log=log, ready=ready):
            # Its health answers before its other sockets are bound; this it prints afterwards.
            eventually(lambda: "CoreDNS-" in log.read_text(), "all of CoreDNS's sockets")
            yield CoreDns(**ports, authority=files["ca.pem"], directory=directory)
    finally:
        for server in (tap, zipkin):
            server.shutdown()
            server.server_close()
        for sink in sinks:
            sink._file.close()


def _address(server: BaseServer) -> str:
    host, port = server.server_address[:2]
    return f"{host}:{port}"
