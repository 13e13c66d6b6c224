"""Recordings as files to go to and fro in: of a pipe, and packed with gzip, also if cut off."""

import contextlib
import gzip
import io
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, cast

STANDARD_INPUT: Final = Path("-")


def opened(path: Path) -> IO[bytes]:
    """Open a file for reading, unpacked if it is packed: an :class:`Unpacked` then.

    Args:
        path: of a file, of a pipe, which is read to its end first, or ``STANDARD_INPUT``.

    Raises:
        OSError: it cannot be read.
    """
    piped = path == STANDARD_INPUT or not path.is_file()
    file = _to_its_end(path) if piped else path.open("rb")
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return cast(IO[bytes], Unpacked(_Packed(file))) if packed else file


def _to_its_end(path: Path) -> IO[bytes]:
    given = contextlib.nullcontext(sys.stdin.buffer)
    with (
        given if path == STANDARD_INPUT else path.open("rb") as source,
        contextlib.ExitStack() as opened,
    ):
        whole = opened.enter_context(tempfile.TemporaryFile())
        shutil.copyfileobj(source, whole)
        whole.seek(0)
        opened.pop_all()  # the caller's to close
    return cast(IO[bytes], whole)


class _Packed(io.RawIOBase):
    """What a gzip file holds, up to where it is broken: a copy of one that grows is cut off."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._gzip = gzip.GzipFile(fileobj=file, mode="rb")
        self.cut = ""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with self._up_to_the_cut():
            self._gzip.seek(offset, whence)
        return self._gzip.tell()

    def tell(self) -> int:
        return self._gzip.tell()

    def readinto(self, buffer: Any) -> int:
        data = b""
        with self._up_to_the_cut():
            data = self._gzip.read1(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    @contextlib.contextmanager
    def _up_to_the_cut(self) -> Iterator[None]:
        try:
            yield
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            self.cut = str(error)

    def close(self) -> None:
        self._gzip.close()
        self._file.close()
        super().close()


class Unpacked(io.BufferedReader):
    """A packed file, read: as much as there is of it."""

    raw: _Packed

    @property
    def cut(self) -> str:
        """Why it ended before its end; empty if it did not."""
        return self.raw.cut
