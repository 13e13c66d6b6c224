"""Gets a program: finds it, else builds it into the cache folder."""

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from otel_dns.lab.programs.catalog import PROGRAMS, CollectorBuild, GoInstall, OwnModule, Program
from otel_dns.lab.programs.errors import BuildFailed, ProgramMissing
from otel_dns.lab.programs.finding import cached, find
from otel_dns.lab.programs.locking import locked
from otel_dns.lab.programs.progress import Progress
from otel_dns.lab.programs.running import run_logged
from otel_dns.lab.programs.toolchain import Toolchain, toolchain

_STRIPPED: Final = "-s -w"


def get(name: str, progress: Progress | None = None) -> Path:
    """The path of a program, which is built first where it is missing.

    Args:
        name: One of ``PROGRAMS``.
        progress: Where to show what goes on; the standard error stream if none is given.

    Raises:
        ProgramMissing: An override names no program; nothing is built instead.
        BuildFailed: It could not be built.
    """
    program = PROGRAMS[name]
    try:
        return find(name)
    except ProgramMissing:
        if os.environ.get(program.override):
            raise
    if progress is None:
        progress = Progress(sys.stderr)
    target = cached(program)
    with locked(program.key, progress):
        # Another process may have built it while this one waited.
        if not target.is_file():
            _build(program, target, progress)
    return target


def _build(program: Program, target: Path, progress: Progress) -> None:
    folder = target.parent
    # Nobody else builds this key while the lock is held: what lies there, a killed build left.
    for left in folder.parent.glob(f".{program.key}-*"):
        shutil.rmtree(left, ignore_errors=True)
    go = toolchain(progress)
    progress.restart()
    progress.say(
        f"building {program.name} {program.version} ({program.purpose}) with {go.description};"
        f" about {program.about_seconds} s on two cores when nothing is cached;"
        f" it goes to {folder}"
    )
    log = folder.parent / f"{program.key}.log"
    log.write_text("")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{program.key}-") as scratch:
        work, result = Path(scratch, "work"), Path(scratch, "result")
        work.mkdir()
        result.mkdir()
        _Steps(go, work, log, progress, _advice(program)).make(program, result / program.name)
        if not (result / program.name).is_file():
            raise BuildFailed(f"The build of {program.name} left no program; its output: {log}")
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)
        # Only a whole result ever has the final name.
        result.rename(folder)
    log.unlink()
    progress.say(f"{program.name} is ready after {progress.elapsed:.0f} s: {target}")


@dataclasses.dataclass(frozen=True, slots=True)
class _Steps:
    """The commands of one build: what is the same for all of them, and an order for each recipe."""

    go: Toolchain
    work: Path
    log: Path
    progress: Progress
    advice: str

    def make(self, program: Program, result: Path) -> None:
        match program.recipe:
            case GoInstall(package=package, version=version):
                self._install(package, version, into=result.parent)
            case OwnModule() as recipe:
                self._own_module(recipe, result)
            case CollectorBuild() as recipe:
                self._collector(recipe, result)

    def _install(self, package: str, version: str, *, into: Path) -> None:
        flags = ["-v", "-trimpath", f"-ldflags={_STRIPPED}"]
        self._run(self.go.go, "install", *flags, f"{package}@{version}", GOBIN=str(into))

    def _own_module(self, recipe: OwnModule, result: Path) -> None:
        for name in ("go.mod", "go.sum"):
            shutil.copyfile(recipe.folder / name, self.work / name)
        if recipe.left_out:
            self._leave_out(recipe)
        linker = [_STRIPPED, *(f"-X {name}={value}" for name, value in recipe.linker_values)]
        self._build(recipe.package, result, linker=" ".join(linker), cwd=self.work)

    def _leave_out(self, recipe: OwnModule) -> None:
        """Have the module replaced by a copy that lacks the file."""
        self._run(self.go.go, "mod", "download", recipe.module)
        found = subprocess.run(
            [self.go.go, "list", "-m", "-f", "{{.Dir}}", recipe.module],
            cwd=self.work, env=dict(self.go.env), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if found.returncode:
            raise BuildFailed(f"go list failed: {found.stderr.strip()} {self.advice}")
        copy = self.work / "module"
        shutil.copytree(found.stdout.strip(), copy)
        for folder, _, _ in os.walk(copy):
            Path(folder).chmod(0o755)  # Go's modules are read-only, and could not be removed
        (copy / recipe.left_out).unlink()
        self._run(self.go.go, "mod", "edit", f"-replace={recipe.module}=./{copy.name}")

    def _collector(self, recipe: CollectorBuild, result: Path) -> None:
        builder = "go.opentelemetry.io/collector/cmd/builder"
        self._install(builder, recipe.version, into=self.work)
        # The manifest's output folder is relative: it lies in the working folder. The builder would
        # compile too, but in silence.
        self._run(self.work / "builder", "--config", recipe.manifest, "--skip-compilation")
        self._build(".", result, linker=_STRIPPED, cwd=self.work / "otelcol")

    def _build(self, package: str, result: Path, *, linker: str, cwd: Path) -> None:
        # Read-only: what go.sum says is built, or the build fails.
        flags = ["-v", "-mod=readonly", "-trimpath", "-buildvcs=false", f"-ldflags={linker}"]
        self._run(self.go.go, "build", *flags, "-o", result, package, cwd=cwd)

    def _run(self, *command: str | Path, cwd: Path | None = None, **env: str) -> None:
        # The builder leaves its temporary folder behind; this one goes with the build. Below the
        # working folder, not the same: Go ignores a go.mod that lies in TMPDIR itself.
        temporary = self.work / "tmp"
        temporary.mkdir(exist_ok=True)
        run_logged(
            command,
            cwd=cwd or self.work,
            env={**self.go.env, "TMPDIR": str(temporary), **env},
            log=self.log,
            progress=self.progress,
            advice=self.advice,
        )


def _advice(program: Program) -> str:
    return (
        "A failed download is tried again by running the same command again (behind a proxy, set"
        f" HTTPS_PROXY or GOPROXY). A {program.name} of your own is used with"
        f" {program.override}=/path/to/{program.name}."
    )
