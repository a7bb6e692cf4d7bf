# trick: sends the judge a descriptor beside a value
# outcome: wrong answer
# detail: it gave 'here'
# tiers: bwrap namespaces landlock rlimits
import gc
import socket

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")
data = b'{"value": {"nodes": [], "item": "here"}}'


def f(xs):
    pair = socket.socketpair()
    numbers = [end.fileno() for end in pair]
    socket.send_fds(channel.end, [len(data).to_bytes(4, "big") + data], numbers * 20)
    return xs
