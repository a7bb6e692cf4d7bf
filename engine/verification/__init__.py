# SPDX-License-Identifier: Apache-2.0
"""Judges samples: their tests, further verifiers, selection without tests.

A new verifier is a class in verifiers.py, or an entry point of another package.
"""
