# trick: connects to a port of this machine
# outcome: forbidden action
# detail: socket
import socket


def f(xs):
    socket.create_connection(("127.0.0.1", int("@PORT@")), timeout=0.2)
    return "escaped"
