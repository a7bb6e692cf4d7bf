# SPDX-License-Identifier: Apache-2.0
"""What is said of a sample's program: its tests, further verifiers, a choice without tests.

A new verifier is a class in verifiers.py, or an entry point of another package.
"""
