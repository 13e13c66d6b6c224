"""Make the page's pictures anew, from a real run in the lab: ``python docs/images/page.py``.

Three applications in five Pods, CoreDNS with trace and dnstap, two upstreams of which one is slow
and now and then silent. Takes about two minutes, and wants chromium.
"""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from otel_dns.lab import Lab, corefiles, dns, scenarios

IMAGES = Path(__file__).parent
SECONDS = 60
SETTLE_S = 3
SLOW = "192.0.2.54"
DNSTAP = "10.244.0.1:6000"
PODS = (
    ("shop", "storefront", "storefront-7d4b9c-x2x8q", "node-a"),
    ("shop", "storefront", "storefront-7d4b9c-k9wzp", "node-b"),
    ("shop", "checkout", "checkout-5f6c8d-m4v2n", "node-a"),
    ("payments", "ledger", "ledger-66bd9f-q7t5r", "node-b"),
)
WORK = """
import random, socket, sys, time
chance, end = random.Random(sys.argv[1]), time.monotonic() + float(sys.argv[2])
names = ["db", "web", "www.example.org", "api.example.org", "cdn.example.net", "paymets",
         "partner.slow.example"]
while time.monotonic() < end:
    name = chance.choices(names, (6, 4, 5, 3, 3, 0.3, 3))[0]
    if name == "partner.slow.example":
        name = f"{chance.randrange(1000)}.{name}"
    try:
        socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)
    except socket.gaierror:
        pass
    time.sleep(chance.expovariate(4))
"""
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def run_lab(history: Path) -> None:
    """Let the applications work for a while, and the processor write what it joins."""
    with Lab(progress=lambda line: sys.stderr.write(f"  {line}\n")) as lab:
        processor = lab.processor(
            ["--history", str(history), "--settle", f"{SETTLE_S}s", "--dnstap-listen", DNSTAP],
            env={"OTEL_DNS__PAGE__LISTEN": "null"},
        )
        lab.upstream_dns()
        lab.upstream_dns(name="upstream-1", address=SLOW, delay="60ms", drop=30)
        text = corefiles.cluster(
            dns.write_zones(lab.session),
            zipkin=processor.zipkin_url,
            dnstap=f"tcp://{DNSTAP}",
            cache=5,
        )
        lab.cluster_dns(text.replace("forward . ", f"forward slow.example {SLOW}\n    forward . "))
        working = []
        for number, (namespace, service, name, node) in enumerate(PODS):
            pod = lab.pod(
                name, namespace=namespace, node=node, options=("ndots:5", "timeout:1", "attempts:2")
            )
            command = [sys.executable, "-c", WORK, str(number), str(SECONDS)]
            working.append(
                pod.start(
                    scenarios.instrumented(command),
                    name=f"work-{number}",
                    env={
                        **scenarios.client_env(processor.otlp, service=service),
                        "OTEL_BSP_SCHEDULE_DELAY": "1000",
                    },
                )
            )
        for process in working:
            process.wait(timeout=SECONDS + 60)
        time.sleep(2 * SETTLE_S)
        processor.process.stop()


@contextlib.contextmanager
def page(history: Path) -> Iterator[str]:
    """The page on what the lab left."""
    address = "127.0.0.1:18053"
    command = [sys.executable, "-m", "otel_dns", "page", "--history", history, "--listen", address]
    with subprocess.Popen(list(map(str, command))) as process:
        for _ in range(100):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://{address}/healthz", timeout=1).close()
                break
            time.sleep(0.2)
        yield f"http://{address}/"
        process.terminate()


def take(browser: Browser, url: str) -> None:
    """Take every picture, of the time in which the applications worked."""
    with urllib.request.urlopen(f"{url}api/v1/about", timeout=20) as answer:  # noqa: S310 our own
        end = json.load(answer)["last_us"] // 1_000_000 + 2
    span = f"from={end - SECONDS - 10}&to={end}"

    def shot(name: str, hash_: str, scheme: str, width: int, height: int, *clicks: str) -> None:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, timezone_id="UTC"
        )
        tab = context.new_page()
        tab.goto(f"{url}{hash_}")
        tab.wait_for_selector("main:not([aria-busy]) > :not(p.quiet)")
        for click in clicks:
            tab.click(click)
            tab.wait_for_selector("main:not([aria-busy])")
        tab.mouse.move(0, 0)
        tab.wait_for_timeout(1000)  # charts are drawn when the browser has laid them out
        tab.screenshot(path=str(IMAGES / f"page-{name}.png"))
        context.close()

    slow = f"#/lookups?{span}&upstream={SLOW}&outcome=ok&max_ms=400"
    row = "table.rows tbody tr:first-child .time a"
    shot("overview-dark", f"#/?{span}", "dark", 1200, 900)
    shot("lookups-light", f"#/lookups?{span}", "light", 1200, 700)
    shot("lookup-dark", slow, "dark", 1200, 1000, row)
    shot("servers-dark", f"#/servers?{span}&of=upstream:{SLOW}:53", "dark", 1200, 900)
    shot("pods-light", f"#/pods?{span}", "light", 1200, 760)
    shot("overview-phone", f"#/?{span}", "dark", 390, 844)


def main() -> None:
    """Run the lab, then take the pictures."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("no chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as directory:
        history = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(directory) / "history"
        if not history.exists():
            run_lab(history)
        with page(history) as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            take(browser, url)
            browser.close()


if __name__ == "__main__":
    main()
