"""``python -m bench.join``: the same as ``otel-dns bench join``."""

from otel_dns.cli.bench import join

if __name__ == "__main__":
    join()
