# SPDX-License-Identifier: Apache-2.0
"""Cheap checks, done before a model is resolved, a file read or a program run."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import click
from click.core import ParameterSource
from gars_vllm.engine.errors import UserError


def refuse_idle(*names: str, unless: bool, because: str) -> None:
    """Raises UserError if one of these options was given and has no effect."""
    context = click.get_current_context()
    for parameter in context.command.params:
        if unless or parameter.name not in names or parameter.name is None:
            continue
        if context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE:
            raise UserError(f"{parameter.opts[0]} {because}")


def writable_file(path: Path | None, makes_folders: bool = False) -> None:
    """Raises UserError if the file cannot be written. `makes_folders`: missing parent folders
    will be created."""
    if path is None:
        return
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a file")
    if not makes_folders and not path.parent.is_dir():
        raise UserError(f"{path} cannot be written: there is no folder {path.parent}")
    _writable(path)


def writable_folder(path: Path | None) -> None:
    """Raises UserError if files cannot be written to a folder, or it cannot be created."""
    if path is None:
        return
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file: name a folder")
    _writable(path)


def free_port(host: str, port: int) -> None:
    """Raises UserError if no server can listen there."""
    try:
        addresses = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = addresses[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # like the server itself
            tried.bind(address)
    except OSError as error:
        raise UserError(
            f"no server can listen on {host}:{port} ({error.strerror}): give another --port, or "
            "--host"
        ) from None


def _writable(path: Path) -> None:
    there = next(p for p in (path, *path.parents) if p.exists())
    if there.is_file() and there != path:
        raise UserError(f"{path} cannot be written: {there} is a file")
    if there.is_file() and not os.access(there, os.W_OK):
        raise UserError(f"{path} cannot be written: it is read-only")
    if there.is_dir():
        try:
            tempfile.TemporaryFile(dir=there).close()  # checking permissions is not enough
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}") from None
