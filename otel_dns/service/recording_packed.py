"""Recordings packed with gzip, also those that are cut off."""

import gzip
import io
import zlib
from pathlib import Path
from typing import IO, Any, cast


def opened(path: Path) -> IO[bytes]:
    """Open a file for reading, unpacked if it is packed: an :class:`Unpacked` then.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], Unpacked(_Packed(path)) if packed else path.open("rb"))


class _Packed(io.RawIOBase):
    """What a gzip file holds, up to where it is broken: a copy of one that grows is cut off."""

    def __init__(self, path: Path) -> None:
        self._gzip = gzip.GzipFile(path, "rb")
        self.cut = ""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._gzip.seek(offset, whence)

    def tell(self) -> int:
        return self._gzip.tell()

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._gzip.read1(len(buffer))
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            self.cut = str(error)
            return 0
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._gzip.close()
        super().close()


class Unpacked(io.BufferedReader):
    """A packed file, read: as much as there is of it."""

    raw: _Packed

    @property
    def cut(self) -> str:
        """Why it ended before its end; empty if it did not."""
        return self.raw.cut
