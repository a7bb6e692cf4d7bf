# trick: sends JSON a hundred thousand brackets deep, to exhaust the judge's stack
# outcome: forbidden action
# detail: broke the protocol: no JSON
# tiers: bwrap namespaces landlock rlimits
import gc

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")
data = b'{"value":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
channel.end.sendall(len(data).to_bytes(4, "big") + data)


def f(xs):
    return xs
