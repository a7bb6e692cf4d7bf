# trick: sends a datagram to a port of this machine
# outcome: forbidden action
# detail: socket
import socket


def f(xs):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", int("@UDP@")))
    return "escaped"
