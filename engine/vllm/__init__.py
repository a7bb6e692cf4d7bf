# SPDX-License-Identifier: Apache-2.0
"""All that knows vLLM: what it loads, how its runners are followed, its settings, its server.

A new version of vLLM is met in compat.py, a new runner beside v1.py and v2.py. Exports nothing: the
plug-in must import nothing until it is asked.
"""
