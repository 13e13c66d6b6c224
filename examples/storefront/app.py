"""A small storefront job: look at the shop's parts, say what was found, and go.

An ordinary program. It knows nothing of OpenTelemetry, nor of otel-dns.
"""

import argparse
import socket
import time
import urllib.error
import urllib.request

import dns.exception
import dns.resolver

PATIENCE = 5.0
"""Seconds that any one step may wait for an answer."""


def fetch(url: str) -> str:
    """Fetch a page and say what came of it."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return f"{answer.status}, {len(answer.read())} bytes"
    except urllib.error.HTTPError as error:
        return f"answered {error.code}"
    except OSError as error:
        return f"not reachable: {getattr(error, 'reason', error)}"


def find(host: str, port: int) -> str:
    """Find the addresses of a service."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return f"not found: {error.strerror}"
    return ", ".join(dict.fromkeys(str(entry[4][0]) for entry in found))


def ask(name: str, kind: str) -> str:
    """Ask DNS for the records of one type."""
    try:
        answer = dns.resolver.resolve(name, kind, lifetime=PATIENCE)
    except dns.exception.DNSException as error:
        return f"no answer: {type(error).__name__}"
    return ", ".join(record.to_text() for record in answer)


def serve_once() -> None:
    """Do all the shop needs, one step after the other."""
    print("catalogue :", fetch("http://web/"))
    print("database  :", find("db", 5432))
    print("prices    :", fetch("http://www.example.org/"))
    print("partner   :", ask("slow.example.", "A"))
    print("payments  :", find("paymets", 443))


def main() -> None:
    """Run the job as often as asked."""
    arguments = argparse.ArgumentParser(description="A small storefront job.")
    arguments.add_argument("--times", type=int, default=1, help="how often (default: once)")
    arguments.add_argument("--pause", type=float, default=0.2, help="seconds in between")
    options = arguments.parse_args()
    for round_number in range(options.times):
        if round_number:
            time.sleep(options.pause)
        serve_once()


if __name__ == "__main__":
    main()
