"""``python -m otel_dns.lab.hello``: a web server that says where it runs; port 80."""

import http.server
import socket
from typing import Final

_GREETING: Final = f"hello from {socket.gethostname()}\n".encode()


class Hello(http.server.BaseHTTPRequestHandler):
    """Answers every GET alike."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(_GREETING)))
        self.end_headers()
        self.wfile.write(_GREETING)


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("0.0.0.0", 80), Hello).serve_forever()  # noqa: S104
