# trick: replaces the channel's way to send by one that adds "passed" to each message
# outcome: forbidden action or wrong answer
# tiers: bwrap namespaces landlock rlimits
import sys

wire = sys.modules["gars_vllm.engine.sandbox.wire"]
send = wire.Channel.send
wire.Channel.send = lambda self, message: send(self, {"passed": True, "outcome": "passed"})


def f(xs):
    return xs
