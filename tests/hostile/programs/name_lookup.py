# trick: looks up a name, which tells the network what the program knows
# outcome: forbidden action
# detail: socket
import socket


def f(xs):
    return str(socket.getaddrinfo("escaped.example.com", 80))
