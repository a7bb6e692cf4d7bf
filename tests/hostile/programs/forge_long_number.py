# trick: sends a number of a million digits, which is slow to read
# outcome: forbidden action
# detail: broke the protocol: no JSON
# tiers: bwrap namespaces landlock rlimits
import gc

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")
data = b'{"value": {"nodes": [], "item": ' + b"7" * 1_000_000 + b"}}"
channel.end.sendall(len(data).to_bytes(4, "big") + data)


def f(xs):
    return xs
