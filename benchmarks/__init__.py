# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: each module is a command, and `gars-vllm bench` runs several of them."""
