# SPDX-License-Identifier: Apache-2.0
"""Output for terminals whose encoding lacks a character, say with PYTHONIOENCODING=ascii."""

from __future__ import annotations

import codecs
import io
from typing import TextIO

SPELT = "gars_vllm.spelt"  # name of the error handler, for a stream's `errors`
_ALIKE = str.maketrans(
    "─━│└┤┌┐┘├┬┴┼╸╺·•…×→–—’‘“”\N{NO-BREAK SPACE}",  # noqa: RUF001
    "--|+++++++++--.*.x>--''\"\" ",
)


def _spelt(error: UnicodeError) -> tuple[str, int]:
    """A replacement for unencodable characters: a similar one for table lines and plot dots, so
    that columns stay aligned; an escape for any other."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(map(_one, text)), error.end


def _one(character: str) -> str:
    if 0x2800 <= ord(character) < 0x2900:  # braille, used by plots
        return " " if character == "\u2800" else "*"
    alike = character.translate(_ALIKE)
    return alike.encode("ascii", "backslashreplace").decode()


def take_any_text(stream: TextIO) -> None:
    """Lets a standard stream print any text in its own encoding.

    click treats an ASCII stream as misconfigured and bypasses it with UTF-8, unless its encoding
    has another name.
    """
    if isinstance(stream, io.TextIOWrapper):
        is_ascii = codecs.lookup(stream.encoding).name == "ascii"
        stream.reconfigure(encoding=_MEANT if is_ascii else None, errors=SPELT)


_MEANT = "gars_vllm_ascii"


def _find(name: str) -> codecs.CodecInfo | None:
    if name != _MEANT:
        return None
    ascii_ = codecs.lookup("ascii")
    return codecs.CodecInfo(
        ascii_.encode, ascii_.decode, ascii_.streamreader, ascii_.streamwriter,
        ascii_.incrementalencoder, ascii_.incrementaldecoder, name,
    )  # fmt: skip


codecs.register(_find)
codecs.register_error(SPELT, _spelt)
