# SPDX-License-Identifier: Apache-2.0
"""The Python API: sampling, models, vLLM adapters, verification and reports, one subpackage
each.

The modules directly in this package are either independent of the subpackages (errors, extras,
guard) or inspect all of them (diagnosis).
"""
