# trick: makes a pair of sockets, which is allowed, and sends from one to a service's address
# outcome: wrong answer
# detail: it gave 'stopped'
import socket


def f(xs):
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        for address in ("@SOCKET@", "\0@ABSTRACT@"):
            try:
                end, _ = socket.socketpair(socket.AF_UNIX, kind)
                end.sendto(b"x", address)
                return "escaped"
            except OSError:
                pass
            try:
                end, _ = socket.socketpair(socket.AF_UNIX, kind)
                end.sendmsg([b"x"], [], 0, address)
                return "escaped"
            except OSError:
                continue
    return "stopped"
