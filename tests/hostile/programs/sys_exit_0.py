# trick: ends the interpreter well while it is loaded
# outcome: exited early
# detail: SystemExit: 0
# tiers: bwrap namespaces landlock rlimits
import sys

sys.exit(0)
