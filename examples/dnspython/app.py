"""Ask DNS itself with dnspython: one query after the other, each seen on the wire.

An ordinary application. It knows nothing of OpenTelemetry, nor of otel-dns.
"""

import dns.exception
import dns.resolver

QUESTIONS = (("web", "A"), ("www.example.org", "A"), ("www.example.org", "MX"))


def ask(name: str, kind: str) -> str:
    """Ask for the records of one type, along the search list."""
    try:
        answer = dns.resolver.resolve(name, kind, search=True, lifetime=5)
    except dns.exception.DNSException as error:
        return f"no answer: {type(error).__name__}"
    return ", ".join(record.to_text() for record in answer)


def main() -> None:
    """Ask all questions."""
    for name, kind in QUESTIONS:
        print(f"{name} {kind}: {ask(name, kind)}")


if __name__ == "__main__":
    main()
