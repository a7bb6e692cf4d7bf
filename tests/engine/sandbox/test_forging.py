# SPDX-License-Identifier: Apache-2.0
"""Programs that try to pass by what the judge takes from them: none may, by either judge."""

from __future__ import annotations

import pytest
from gars_vllm.engine.sandbox.outcome import Limits, Program
from gars_vllm.engine.sandbox.worker import Worker

LIMITS = Limits(timeout=5.0, memory_mb=512)
PROMPT = "def f(x):\n    pass\n"
POINT = "from dataclasses import dataclass\n@dataclass\nclass Pt:\n    x: int\n\n"
CHANNEL = (
    "import gc\nchannel = next(o for o in gc.get_objects() if type(o).__name__ == 'Channel')\n"
)
ANY = "class Any_:\n    def __getattr__(s, n): return lambda *a, **k: True\n" + "".join(
    f"    def __{n}__(s, *a): return {v}\n"
    for n, v in {
        "eq": "True", "ne": "False", "lt": "True", "le": "True", "gt": "True", "ge": "True",
        "contains": "True", "sub": "0.0", "rsub": "0.0", "add": "s", "mul": "s", "abs": "0.0",
        "float": "0.0", "hash": "0", "exit": "True", "enter": "s",
    }.items()
)  # fmt: skip

# what it tries: (program, body of the test, entry, preamble)
TRICKS: dict[str, tuple[str, str, str, str]] = {
    "is equal to everything": (ANY + "def f(x): return Any_()\n", "assert candidate(1) == 2", "f", PROMPT),
    "is less than everything": (ANY + "def f(x): return Any_()\n", "assert candidate(1) < 2", "f", PROMPT),
    "takes the expected value in a subtraction": (ANY + "def f(x): return Any_()\n", "assert abs(candidate(1) - 2.5) < 1e-6", "f", PROMPT),
    "takes it from the right": (ANY + "def f(x): return Any_()\n", "assert abs(2.5 - candidate(1)) < 1e-6", "f", PROMPT),
    "holds everything": (ANY + "def f(x): return Any_()\n", "assert 2 in candidate(1)", "f", PROMPT),
    "says yes to any question of a text's": (ANY + "def f(x): return Any_()\n", "assert candidate(1).startswith('a')", "f", PROMPT),
    "two of them are equal": (ANY + "def f(x): return Any_()\n", "assert candidate(1) == candidate(2)", "f", PROMPT),
    "is a class where a function is asked for": (ANY.replace("Any_", "f") + "    def __init__(s, x): pass\n", "assert abs(candidate(1) - 2.5) < 1e-6", "f", PROMPT),
    "is a class equal to everything": (ANY.replace("Any_", "f") + "    def __init__(s, x): pass\n", "assert candidate(1) == candidate(2)", "f", PROMPT),
    "a tested class is equal to everything": (ANY.replace("Any_", "Vec") + "    def __init__(s, x): pass\n", "assert candidate(1) == candidate(2)", "Vec", ""),
    "a tested class is equal to data": (ANY.replace("Any_", "Vec") + "    def __init__(s, x): pass\n", "assert candidate(1) == [1]", "Vec", ""),
    "a tested class holds everything": (ANY.replace("Any_", "Vec") + "    def __init__(s, x): pass\n", "assert 3 in candidate(1)", "Vec", ""),
    "takes back an assertion": (ANY + "def f(x): return Any_()\n", "with candidate(1):\n    assert False", "f", PROMPT),
    "catches the assertion of a function of the test's": ("def f(x):\n    try: x()\n    except BaseException: pass\n", "def g(): assert False\ncandidate(g)", "f", PROMPT),
    "patches the prompt's class": (POINT + "Pt.__eq__ = lambda s, o: True\ndef f(x): return Pt(0)\n", "assert candidate(1) == Pt(1)", "f", POINT + PROMPT),
    "has its own class for the prompt's": (POINT.replace("x: int", "x: int\n    def __eq__(s, o): return True") + "def f(x): return Pt(0)\n", "assert candidate(1) == Pt(1)", "f", POINT + PROMPT),
    "empties what the test computes from": ("def f(x):\n    x.clear(); return []\n", "a = [2, 1]; r = candidate(a)\nassert r == sorted(a)", "f", PROMPT),
    "empties it by a forged message": (CHANNEL + "def f(x):\n    channel.send({'changed': {'nodes': [['list', []]], 'items': [[0], [0]]}, 'origins': [[0, 0]]})\n    return []\n", "a = [2, 1]\nassert candidate(a) == sorted(a)", "f", PROMPT),
    "seeds the test's random numbers": ("import random\ndef f(x):\n    random.setstate((3, (0,) * 624 + (624,), None)); return x\n", "import random\nrandom.seed(1)\nfor _ in range(3):\n    a = [random.random() for _ in range(5)]\n    assert candidate(a) == sorted(a)", "f", PROMPT),
    "raises what skips a test": ("import _pytest.outcomes as o\ndef f(x): raise o.Skipped('x')\n", "assert candidate(1) == 2", "f", PROMPT),
    "raises what stands for an exit": ("def f(x): raise SystemExit(0)\n", "import pytest\nwith pytest.raises(SystemExit): pass\nassert candidate(1) == 2", "f", PROMPT),
    "names a class of the judge's in an exception": ("class JudgingEnded(BaseException): pass\nJudgingEnded.__module__ = 'gars_vllm.engine.sandbox.program_client'\nclass E(JudgingEnded, Exception): pass\ndef f(x): raise E('passed')\n", "assert candidate(1) == 2", "f", PROMPT),
    "gives a text to a reader that evaluates": ("def f(x): return '__import__(\"os\")._exit(0)'\n", "import sympy\nassert sympy.simplify(candidate(1)) == 2", "f", PROMPT),
    "gives a text to eval": ("def f(x): return '2'\n", "assert eval(candidate(1)) == 2", "f", PROMPT),
    "has annotations that are evaluated": ("def f(x: 'print(1)'): return 2\n", "import typing\nassert typing.get_type_hints(candidate) == {}", "f", PROMPT),
    "writes a module that the test imports": ("import os\ndef f(x):\n    open('math2.py', 'w').write('x = 2'); return 1\n", "import os\ncandidate(1)\nimport math2\nassert math2.x == 2", "f", PROMPT),
    "looks for the judge's memory beside it": ("import os\ndef f(x):\n    for n in os.listdir('/proc'):\n        if n.isdigit() and int(n) != os.getpid():\n            open(f'/proc/{n}/mem', 'r+b')\n    return 1\n", "import os\nassert candidate(1) == 2", "f", PROMPT),
    "kills the judge beside it": ("import os\ndef f(x):\n    for n in range(2, 200):\n        if n != os.getpid(): os.kill(n, 9)\n", "import os\nassert candidate(1) == 2", "f", PROMPT),
    "leaves, beside its judge": ("import os\ndef f(x): os._exit(0)\n", "import os\nassert candidate(1) == 2", "f", PROMPT),
    "writes the verdict to all descriptors": ("import os\ndef f(x):\n    for n in range(3, 64):\n        try: os.write(n, (18).to_bytes(8, 'big') + b'[\"passed\", \"\", []]')\n        except OSError: pass\n    return 2\n", "import os\nassert candidate(1) == 2", "f", PROMPT),
}  # fmt: skip


@pytest.mark.parametrize("beside", [False, True], ids=["outside", "inside"])
@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_passes(trick: str, beside: bool, worker: Worker) -> None:
    text, body, entry, preamble = TRICKS[trick]
    lines = "\n".join("    " + line for line in body.split("\n"))
    test = f"{'import os' if beside else ''}\ndef check(candidate):\n{lines}\n"
    verdict = worker.run(Program(text, entry, test, preamble), LIMITS)
    assert not verdict.passed, verdict
    assert verdict.judge == ("inside" if beside or "import os" in body else "outside")
    honest = Program("def f(x): return 2\n", "f", "def check(c):\n    assert c(1) == 2\n")
    assert worker.run(honest, LIMITS).passed
