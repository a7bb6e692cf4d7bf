# SPDX-License-Identifier: Apache-2.0
"""What is measured: each module is a command of its own, and `gars-vllm bench` runs them."""
