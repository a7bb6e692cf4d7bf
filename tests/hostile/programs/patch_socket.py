# trick: replaces the class of sockets by one that says that all is well
# outcome: forbidden action or exited early or wrong answer
# tiers: bwrap namespaces landlock rlimits
import gc
import socket


class Lies(socket.socket):
    def sendall(self, data, *more):
        return super().sendall(b"\0\0\0\x06passed")


channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")
socket.socket = Lies
channel.end = Lies(fileno=channel.end.detach())


def f(xs):
    return xs
