"""``python -m tests.transparency [SUITE ...]``: run each suite twice, and compare.

A test whose outcome differs is run again, alone, up to three times each way: suites of sockets and
timers have tests that fail now and then, and what matters is whether they still can have the same
outcome. A run that hangs or dies says where, and is tried once more, alone. Exit code 1 if one
cannot, or if a suite is skipped for a reason that is not allowed.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.support import skips
from tests.transparency.suites import CPYTHON, SUITES, Suite

ROOT = Path(__file__).parents[2]
REQUIREMENT = Path(__file__).with_name("dnspython.txt")
MODES = ("bare", "instrumented")
SECONDS = 600
"""Of a run; of one test see :data:`tests.transparency.child.TEST_SECONDS`."""
AGAIN = 3


class UnavailableError(Exception):
    """A suite cannot be had here; says why."""


def source(kind: str, into: Path) -> Path:
    """Return where a suite's tests are."""
    if kind == CPYTHON:
        for module in ("test.support", "test.test_socket"):
            if importlib.util.find_spec(module) is None:
                raise UnavailableError(f"this Python is installed without its tests ({module})")
        return into
    wanted = f"dnspython=={version('dnspython')}"
    if wanted not in REQUIREMENT.read_text(encoding="utf-8"):
        raise UnavailableError(f"{REQUIREMENT.name} does not name the installed {wanted}")
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet"]
    command += ["--no-deps", "--no-binary", "dnspython", "--require-hashes"]
    done = subprocess.run(
        [*command, "-r", str(REQUIREMENT), "-d", str(into)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2]
        raise UnavailableError(f"no source distribution: {said}")
    (archive,) = into.glob("dnspython-*.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(into, filter="data")
    tests = into / archive.name.removesuffix(".tar.gz")
    # The installed package is what is tested, not the one beside the tests.
    (tests / "dns").rename(tests / "not-used")
    return tests


def run(
    suite: Suite,
    mode: str,
    directory: Path,
    only: Sequence[str] = (),
    first: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """Run a suite, alone; once more where the first run (here, or given) did not end well."""
    text, said = first or run_once(suite, mode, directory, only)
    if not text:
        print(f"  {suite.name}, {mode}, did not end well, once more alone:\n{said}", flush=True)
        text, said = run_once(suite, mode, directory, only)
    if not text:
        raise SystemExit(f"{suite.name}, {mode}, did not end well alone either:\n{said}")
    found: dict[str, Any] = json.loads(text)
    return found


def run_once(suite: Suite, mode: str, directory: Path, only: Sequence[str] = ()) -> tuple[str, str]:
    """Run a suite in a process of its own.

    Returns:
        The outcomes as JSON, or nothing where it hung or died; and the last that was said.
    """
    with tempfile.NamedTemporaryFile(suffix=".json") as results:
        command = [sys.executable, "-m", "tests.transparency.child"]
        try:
            said = subprocess.run(
                [*command, suite.name, mode, results.name, str(directory), *only],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=SECONDS,
                check=False,
            ).stdout
        except subprocess.TimeoutExpired as expired:
            return "", f"{_end_of(expired.output or b'')}\nnot within {SECONDS} s"
        return Path(results.name).read_text(encoding="utf-8"), _end_of(said)


def _end_of(said: bytes) -> str:
    return said.decode(errors="replace")[-8000:].strip()


def both(suite: Suite, directory: Path) -> list[dict[str, Any]]:
    """Run a suite both ways, side by side: these tests wait more than they work."""
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda mode: run_once(suite, mode, directory), MODES))
    return [
        run(suite, mode, directory, first=first) for mode, first in zip(MODES, ended, strict=True)
    ]


def different(bare: dict[str, str], ours: dict[str, str]) -> list[str]:
    return sorted(name for name in bare.keys() | ours.keys() if bare.get(name) != ours.get(name))


def compare(suite: Suite, directory: Path) -> Iterable[str]:
    """Run and compare; yield a line for each test that does not behave the same."""
    bare, ours = both(suite, directory)
    number = len(bare["outcomes"])
    counts = Counter(how.partition(":")[0] for how in bare["outcomes"].values())
    told = ", ".join(f"{count} {how}" for how, count in sorted(counts.items()))
    print(f"{suite.name}: {number} tests ({told}); {ours['lookups']} lookups recorded", flush=True)
    if not counts["passed"]:
        yield f"{suite.name}: nothing passes without the instrumentation"
    if not ours["lookups"] and not suite.without_lookups:
        yield f"{suite.name}: nothing was recorded, so nothing was tried"
    seen = {
        name: ({bare["outcomes"].get(name)}, {ours["outcomes"].get(name)})
        for name in different(bare["outcomes"], ours["outcomes"])
    }
    for _ in range(AGAIN):
        apart = [name for name, (one, other) in seen.items() if not one & other]
        if not apart:
            break
        for name in apart:
            for mode, outcomes in zip(MODES, seen[name], strict=True):
                outcomes.add(run(suite, mode, directory, [name])["outcomes"].get(name))
    for name, (one, other) in seen.items():
        if one & other:
            print(f"  now and then: {name}: {one | other}")
        else:
            yield f"{suite.name}: {name}: without {one}, with {other}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.transparency", description=__doc__)
    names = [suite.name for suite in SUITES]
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(names)}")
    parser.add_argument("--allowed-skips", type=Path, metavar="FILE", help=skips.HELP)
    asked = parser.parse_args()
    wanted = asked.suites or names
    if unknown := set(wanted) - set(names):
        parser.error(f"no such suite: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    allowed = skips.AllowedSkips(asked.allowed_skips)
    failures: list[str] = []
    skipped = 0
    for suite in SUITES:
        if suite.name not in wanted:
            continue
        with tempfile.TemporaryDirectory() as directory:
            try:
                where = source(suite.kind, Path(directory))
            except UnavailableError as reason:
                print(f"{suite.name}: SKIPPED: {reason}", flush=True)
                skipped += 1
                if not allowed.allow(str(reason)):
                    failures.append(f"{suite.name}: skip not allowed: {reason}")
                continue
            failures += compare(suite, where)
    if skipped:
        print(f"suites skipped: {skipped}")
    print("\n".join(failures) or "every test that ran behaves the same")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
