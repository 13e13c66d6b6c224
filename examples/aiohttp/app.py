"""Fetch pages side by side with aiohttp: each task waits for its own lookup.

An ordinary application. It knows nothing of OpenTelemetry, nor of otel-dns.
"""

import asyncio

import aiohttp

PAGES = ("http://web/", "http://www.example.org/")


async def fetch(session: aiohttp.ClientSession, url: str) -> str:
    """Fetch a page and say what came of it."""
    try:
        async with session.get(url) as answer:
            return f"{url}: {answer.status}, {len(await answer.read())} bytes"
    except aiohttp.ClientError as error:
        return f"{url}: {error}"


async def main() -> None:
    """Fetch all pages at once."""
    patience = aiohttp.ClientTimeout(total=5)
    # aiohttp takes c-ares where aiodns is installed; this is the C library's resolver.
    connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver())
    async with aiohttp.ClientSession(connector=connector, timeout=patience) as session:
        for line in await asyncio.gather(*(fetch(session, url) for url in PAGES)):
            print(line)


if __name__ == "__main__":
    asyncio.run(main())
