# SPDX-License-Identifier: Apache-2.0
"""The only subpackage that depends on vLLM: processors, adapters for its runners, settings,
server.

Adapt to new vLLM versions in compat.py; a new runner is a module like v1.py and v2.py. Exports
nothing, since the plug-in must import nothing until it is used.
"""
