"""A small web service on Flask: its one page tells what the shop's catalogue says.

An ordinary application. It knows nothing of OpenTelemetry, nor of otel-dns.
"""

import urllib.request

from flask import Flask

app = Flask(__name__)


@app.get("/")
def page() -> str:
    """Fetch the catalogue by its short in-cluster name."""
    with urllib.request.urlopen("http://web/", timeout=5) as answer:
        return f"the catalogue has {len(answer.read())} bytes\n"


if __name__ == "__main__":
    app.run("0.0.0.0", 8000)
