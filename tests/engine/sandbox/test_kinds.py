# SPDX-License-Identifier: Apache-2.0
"""What honest tests do with programs, kind by kind: the right program passes, a wrong one fails."""

from __future__ import annotations

import pytest
from gars_vllm.engine.sandbox.outcome import Limits, Program
from gars_vllm.engine.sandbox.worker import Worker

LIMITS = Limits(timeout=30.0, memory_mb=1024)
STACK = """
class Stack:
    def __init__(self): self.a = []
    def push(self, x): self.a.append(x)
    def pop(self): return self.a.pop()
    def __len__(self): return len(self.a)
    def __eq__(self, o): return self.a == o.a
    def __contains__(self, x): return x in self.a
    def __add__(self, o):
        s = Stack(); s.a = self.a + o.a; return s
    def __iter__(self): return iter(self.a)
    def __getitem__(self, i): return self.a[i]
    def __setitem__(self, i, v): self.a[i] = v
    def __bool__(self): return bool(self.a)
    def __str__(self): return 'S' + str(self.a)
    def __repr__(self): return 'Stack(%r)' % (self.a,)
    def __call__(self, x): return x + len(self.a)
    def __lt__(self, o): return len(self.a) < len(o.a)
    @property
    def top(self): return self.a[-1]
    @classmethod
    def of(cls, *xs):
        s = cls(); s.a = list(xs); return s
    def merge(self, o):
        self.a += o.a; return len(self.a)
"""
POINT = "from dataclasses import dataclass\n@dataclass\nclass Pt:\n    x: int\n    y: int\n\n"
COLOR = "from enum import Enum\nclass Color(Enum):\n    RED = 1\n    BLUE = 2\n\n"
SMALL = "class TooSmall(Exception):\n    pass\n\n"
NODE = "class Node:\n    def __init__(s, v, next=None): s.v = v; s.next = next\n\n"
PASS = "def f(*a):\n    pass\n"

# name: (program, what makes it wrong, the body of the test, entry, preamble, test's top)
KINDS: dict[str, tuple[str, tuple[str, str], str, str, str, str]] = {
    "argument changed, value returned": (
        "def f(a):\n    k = 0\n    for x in a:\n        if k == 0 or a[k-1] != x:\n            a[k] = x; k += 1\n    return k\n",
        ("a[k] = x", "a[k] = 0"), "a = [1, 1, 2]; k = candidate(a)\nassert k == 2\nassert a[:k] == [1, 2]", "f", "", ""),
    "argument returned is the argument": ("def f(a):\n    a.append(1); return a\n", ("return a", "return list(a)"), "a = []; r = candidate(a)\nassert r is a and a == [1]", "f", "", ""),
    "prompt's exception": (SMALL + "def f(n):\n    if n < 0: raise TooSmall(n)\n    return n\n", ("n < 0", "n < -9"), "try:\n    candidate(-1)\nexcept TooSmall as e:\n    assert e.args == (-1,)\n    return\nassert False", "f", SMALL + PASS, ""),
    "program's exception": ("class Empty(Exception):\n    def __init__(self, code):\n        super().__init__('code %d' % code); self.code = code\nclass Sub(Empty): pass\ndef f(n): raise Sub(n)\n", ("raise Sub(n)", "raise Sub(n+1)"), "try:\n    candidate(3)\nexcept Empty as e:\n    assert e.code == 3 and str(e) == 'code 3'\n    return\nassert False", "f", "", ""),
    "library's exception": ("import json\ndef f(n): return json.loads(n)\n", ("json.loads(n)", "int(n)"), "with pytest.raises(json.JSONDecodeError) as e: candidate('{')\nassert e.value.pos == 1", "f", "", "import json, pytest\n"),
    "exit": ("import sys\ndef f(): sys.exit(3)\n", ("exit(3)", "exit(4)"), "with pytest.raises(SystemExit) as e: candidate()\nassert e.value.code == 3", "f", "", "import pytest\n"),
    "prompt's dataclass": (POINT + "def f(n): return [Pt(n, n)]\n", ("Pt(n, n)", "Pt(n, 0)"), "assert candidate(2) == [Pt(2, 2)] and candidate(2)[0].x == 2", "f", POINT + PASS, ""),
    "prompt's Enum": (COLOR + "def f(n): return Color(n)\n", ("Color(n)", "Color(1)"), "assert candidate(2) is Color.BLUE and candidate(1).name == 'RED'", "f", COLOR + PASS, ""),
    "program's dataclass": (POINT + "def f(n): return Pt(n, 0)\n", ("Pt(n, 0)", "Pt(n, 1)"), "assert candidate(2) == Pt(2, 0) and Pt(1, 0) != Pt(2, 0) and repr(Pt(1, 0)) == 'Pt(x=1, y=0)'", "f", "", ""),
    "program's Enum": (COLOR, ("BLUE = 2", "BLUE = 1"), "assert candidate(2) is candidate.BLUE and [c.value for c in candidate] == [1, 2]\nassert candidate['RED'] != candidate.BLUE and isinstance(candidate.RED, candidate)", "Color", "", ""),
    "Counter": ("from collections import Counter\ndef f(n): return Counter(n)\n", ("Counter(n)", "dict(Counter(n))"), "c = candidate('aab')\nassert c.most_common(1) == [('a', 2)] and c['z'] == 0", "f", "", ""),
    "OrderedDict": ("from collections import OrderedDict\ndef f(n): return OrderedDict(a=n)\n", ("OrderedDict(a=n)", "dict(a=n)"), "assert isinstance(candidate(1), OrderedDict)", "f", "", "from collections import OrderedDict\n"),
    "namedtuple": ("from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(n): return P(n, n + 1)\n", ("n + 1", "n"), "r = candidate(1)\nassert r.x == 1 and r == (1, 2) and r._asdict() == {'x': 1, 'y': 2}", "f", "", ""),
    "defaultdict": ("from collections import defaultdict\ndef f(n):\n    d = defaultdict(lambda: 7); d[n] = 1\n    return d\n", ("7", "8"), "d = candidate(3)\nassert d[3] == 1 and d['no'] == 7", "f", "", ""),
    "UserList": ("from collections import UserList\ndef f(n): return UserList(n)\n", ("UserList(n)", "UserList(n[1:])"), "assert candidate([1, 2]) == [1, 2] and candidate([1]).data == [1]", "f", "", ""),
    "path": ("import pathlib\ndef f(n): return pathlib.PurePosixPath('/a') / n\n", ("'/a'", "'/b'"), "assert candidate('b') == pathlib.PurePosixPath('/a/b')", "f", "", "import pathlib\n"),
    "numpy array": ("import numpy as np\ndef f(a): return a * 2\n", ("* 2", "* 3"), "assert (candidate(np.array([1, 2])) == np.array([2, 4])).all() and candidate(np.eye(2)).shape == (2, 2)", "f", "", "import numpy as np\n"),
    "list node": (NODE + "def f(h):\n    p = None\n    while h: h.next, p, h = p, h, h.next\n    return p\n", ("return p", "return p.next"), "r = candidate(Node(1, Node(2)))\nassert r.v == 2 and r.next.v == 1 and r.next.next is None", "f", NODE + PASS, ""),
    "test's class": ("def f(h): h.v = 9\n", ("= 9", "= 8"), "n = Node(1); candidate(n)\nassert n.v == 9", "f", "", NODE),
    "program's objects as arguments": (STACK, ("self.a += o.a", "self.a += []"), "s = candidate(); s.push(1)\nr = candidate(); r.push(1)\nassert s.merge(r) == 2", "Stack", "", ""),
    "operators": (STACK, ("self.a + o.a", "o.a"), "s = candidate(); s.push(1); r = candidate(); r.push(1)\nassert s == r and not s != r and 1 in s and 2 not in s\nassert (s + r).a == [1, 1] and list(s) == [1] and s[0] == 1\ns[0] = 4\nassert s.top == 4 and s and not candidate() and s(1) == 2\nassert sorted([s, candidate()])[1] is s and candidate.of(1, 2).a == [1, 2]\nassert isinstance(s, candidate) and type(s) is candidate", "Stack", "", ""),
    "str and repr": (STACK, ("'S' +", "'T' +"), "s = candidate.of(4)\nassert str(s) == f'{s}' == 'S[4]' and repr(s) == 'Stack([4])'", "Stack", "", ""),
    "hash": ("class P:\n    def __init__(s, x): s.x = x\n    def __eq__(s, o): return s.x == o.x\n    def __hash__(s): return hash(s.x)\n", ("s.x == o.x", "s.x != o.x"), "assert len({candidate(1), candidate(1), candidate(2)}) == 2", "P", "", ""),
    "list of its own": ("class Bag(list):\n    def total(self): return sum(self)\n", ("sum(self)", "len(self)"), "b = candidate([1, 2]); b.append(3)\nassert b.total() == 6 and b == [1, 2, 3] and len(b) == 3", "Bag", "", ""),
    "copies": (STACK, ("self.a.append(x)", "Stack.b = x"), "s = candidate(); s.push(1)\nr = copy.deepcopy(s); r.push(2)\nassert (len(s), len(r)) == (1, 2)", "Stack", "", "import copy\n"),
    "with": ("class f:\n    def __enter__(self): return 5\n    def __exit__(self, *a): return True\n", ("return 5", "return 6"), "with candidate() as x:\n    assert x == 5", "f", "", ""),
    "with that swallows": ("class f:\n    def __init__(s, *k): s.k = k\n    def __enter__(s): return s\n    def __exit__(s, t, v, b): return t is not None and issubclass(t, s.k)\n", ("issubclass(t, s.k)", "True"), "with candidate(ValueError): raise ValueError\ntry:\n    with candidate(ValueError): raise KeyError('x')\nexcept KeyError: return\nassert False", "f", "", ""),
    "async": ("import asyncio\nasync def f(n):\n    await asyncio.sleep(0.001)\n    return n + 1\n", ("n + 1", "n"), "assert inspect.iscoroutinefunction(candidate) and asyncio.run(candidate(3)) == 4\nasync def m(): return await asyncio.gather(candidate(1), candidate(2))\nassert asyncio.run(m()) == [2, 3]", "f", "", "import asyncio, inspect\n"),
    "async with, async for": ("class f:\n    async def __aenter__(s): return s\n    async def __aexit__(s, *a): return False\n    async def items(s):\n        for i in range(3): yield i\n", ("range(3)", "range(4)"), "async def m():\n    async with candidate() as c:\n        return [x async for x in c.items()]\nassert asyncio.run(m()) == [0, 1, 2]", "f", "", "import asyncio\n"),
    "coroutines that wait for each other": ("import asyncio\nclass f:\n    def __init__(s): s.e = asyncio.Event()\n    async def wait(s): await s.e.wait(); return 1\n    async def set(s): s.e.set()\n", ("return 1", "return 2"), "async def m():\n    c = candidate()\n    return (await asyncio.gather(c.wait(), c.set()))[0]\nassert asyncio.run(m()) == 1", "f", "", "import asyncio\n"),
    "signature": ("def f(a, b: int = 3, *args, k=None, **kw) -> int:\n    'doc'\n", ("= 3", "= 4"), "p = inspect.signature(candidate).parameters\nassert list(p) == ['a', 'b', 'args', 'k', 'kw'] and p['b'].default == 3 and p['b'].annotation is int\nassert candidate.__name__ == 'f' and candidate.__doc__ == 'doc' and inspect.isfunction(candidate)", "f", "", "import inspect\n"),
    "generator": ("def f(n): yield from range(n)\n", ("yield from range(n)", "return iter(range(n))"), "assert isinstance(candidate(3), types.GeneratorType) and list(candidate(3)) == [0, 1, 2]", "f", "", "import types\n"),
    "decorator": ("import functools\ndef f(fn):\n    @functools.wraps(fn)\n    def w(*a, **k): return 2 * fn(*a, **k)\n    return w\n", ("@functools.wraps(fn)", ""), "@candidate\ndef g(x, y=1): return x + y\nassert g(4) == 10 and g(1, y=2) == 6 and g.__name__ == 'g'", "f", "", ""),
    "currying": ("def f(fn):\n    n = fn.__code__.co_argcount\n    def g(*a): return fn(*a) if len(a) >= n else lambda *b: g(*a, *b)\n    return g\n", (">= n", ">= 1"), "assert candidate(lambda a, b, c: a + b + c)(1)(2)(3) == 6", "f", "", ""),
    "errors of the test's functions": ("def f(fn):\n    for _ in range(3):\n        try: return fn()\n        except ValueError: pass\n", ("except ValueError", "except KeyError"), "n = []\ndef g():\n    n.append(1)\n    if len(n) < 3: raise ValueError('x')\n    return 5\nassert candidate(g) == 5 and len(n) == 3", "f", "", ""),
    "iterators as arguments": ("def f(it): return [x * 2 for x in it]\n", ("* 2", "* 3"), "assert candidate(iter([1, 2])) == [2, 4] and candidate(x for x in range(2)) == [0, 2]", "f", "", ""),
    "streams as arguments": ("def f(s): s.write('hi')\n", ("'hi'", "'ho'"), "b = io.StringIO(); candidate(b)\nassert b.getvalue() == 'hi'", "f", "", "import io\n"),
    "captured stdout": ("def f(n): print('hi', n)\n", ("'hi'", "'ho'"), "b = io.StringIO()\nwith contextlib.redirect_stdout(b): candidate(3)\nassert b.getvalue() == 'hi 3\\n'", "f", "", "import contextlib, io\n"),
    "patched input": ("def f(n): return int(input('? ')) + n\n", ("+ n", "- n"), "with patch('builtins.input', return_value='4'): assert candidate(3) == 7", "f", "", "from unittest.mock import patch\n"),
    "stdin": ("import sys\ndef f(): return [int(x) for x in sys.stdin.read().split()]\n", ("int(x)", "x"), "sys.stdin = io.StringIO('4 5')\nassert candidate() == [4, 5]", "f", "", "import io, sys\n"),
    "patched functions": ("import time\ndef f(n): time.sleep(100); print(n); return n\n", ("sleep(100)", "sleep(99)"), "with patch('time.sleep') as s, patch('builtins.print') as p: assert candidate(1) == 1\ns.assert_called_once_with(100); p.assert_called_with(1)", "f", "", "from unittest.mock import patch\n"),
    "warnings": ("import warnings\ndef f(n): warnings.warn('old', DeprecationWarning); return n\n", ("'old'", "'new'"), "with pytest.warns(DeprecationWarning, match='old'): assert candidate(1) == 1", "f", "", "import pytest\n"),
    "seed": ("import random\ndef f(n): return [random.randint(0, 100) for _ in range(n)]\n", ("0, 100", "1, 101"), "random.seed(5); a = candidate(3)\nrandom.seed(5); e = [random.randint(0, 100) for _ in range(3)]\nassert a == e\nrandom.seed(5)\nassert candidate(3) == e and candidate(3) != e", "f", "", "import random\n"),
    "file for the program": ("def f(p): return open(p).read()\n", (".read()", ".read()[1:]"), "p = os.path.join(tempfile.mkdtemp(), 'x')\nopen(p, 'w').write('hey')\nassert candidate(p) == 'hey'", "f", "", "import os, tempfile\n"),
    "file of the program": ("def f(p, n):\n    with open(p, 'w') as x: x.write(str(n))\n", ("str(n)", "str(n + 1)"), "p = os.path.join(tempfile.mkdtemp(), 'x'); candidate(p, 5)\nassert open(p).read() == '5'", "f", "", "import os, tempfile\n"),
    "folder": ("import os\ndef f(): return sorted(os.listdir('.'))\n", ("sorted", "len"), "os.chdir(tempfile.mkdtemp()); open('a', 'w').close()\nassert candidate() == ['a']", "f", "", "import os, tempfile\n"),
    "environment": ("import os\ndef f(n): os.environ['B'] = '2'; return os.environ.get(n)\n", ("'2'", "'3'"), "os.environ['A'] = '1'\nassert candidate('A') == '1' and os.environ['B'] == '2'", "f", "", "import os\n"),
    "two million items": ("def f(n): return list(range(n))\n", ("range(n)", "range(n - 1)"), "r = candidate(2000000)\nassert len(r) == 2000000 and r[-1] == 1999999", "f", "", ""),
    "twenty megabytes": ("def f(n): return len(n) * 'a'\n", ("'a'", "'b'"), "assert candidate('a' * 20000000) == 'a' * 20000000", "f", "", ""),
    "own source": ("import inspect\ndef f(): return len(inspect.getsource(f).split())\n", (".split()", ""), "assert candidate() == 4", "f", "", ""),
    "a hundred threads": ("import threading\ndef f(n):\n    e = threading.Event()\n    ts = [threading.Thread(target=e.wait) for i in range(n)]\n    [x.start() for x in ts]; e.set(); [x.join() for x in ts]\n    return n\n", ("return n", "return 0"), "assert candidate(100) == 100", "f", "", ""),
    "multiprocessing.dummy": ("def f(n):\n    from multiprocessing.dummy import Pool\n    with Pool(4) as p: return p.map(abs, range(n))\n", ("abs", "str"), "assert candidate(3) == [0, 1, 2]", "f", "", ""),
    "sqlite in a file": ("def f(n):\n    import sqlite3, tempfile, os\n    p = os.path.join(tempfile.mkdtemp(), 'a.db')\n    c = sqlite3.connect(p); c.execute('create table t(x)'); c.execute('insert into t values(?)', (n,)); c.commit(); c.close()\n    return sqlite3.connect(p).execute('select x from t').fetchone()[0]\n", ("(n,)", "(0,)"), "assert candidate(3) == 3", "f", "", ""),
    "what libraries look for when they are imported": ("def f(n):\n    import requests, uuid, platform\n    uuid.uuid1(); platform.platform()\n    return n\n", ("return n", "return 0"), "assert candidate(3) == 3", "f", "", ""),
}  # fmt: skip


def _program(kind: str, text: str) -> Program:
    _, _, body, entry, preamble, top = KINDS[kind]
    lines = "\n".join("    " + line for line in body.split("\n"))
    return Program(text, entry, f"{top}def check(candidate):\n{lines}\n", preamble)


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_program_passes_and_a_wrong_one_fails(kind: str, worker: Worker) -> None:
    text, (old, new), *_ = KINDS[kind]
    right = worker.run(_program(kind, text), LIMITS)
    assert right.passed, right
    assert old in text
    wrong = worker.run(_program(kind, text.replace(old, new, 1)), LIMITS)
    assert wrong.outcome in ("wrong answer", "exception", "exited early"), wrong


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("matplotlib", "def f(n):\n    import matplotlib; matplotlib.use('Agg')\n    import matplotlib.pyplot as plt\n    return len(plt.subplots()[1].plot([1, 2]))\n"),
        ("sympy", "import sympy\ndef f(n): return sympy.Rational(n) + sympy.pi - sympy.pi\n"),
    ],
)  # fmt: skip
def test_large_libraries(name: str, text: str, worker: Worker) -> None:
    test = "import sympy\ndef check(candidate):\n    assert candidate(1) == sympy.Integer(1)\n"
    verdict = worker.run(Program(text, "f", test), Limits(60.0, 1024))
    assert verdict.passed, verdict
