# SPDX-License-Identifier: Apache-2.0
"""A backend for Triton that is there and compiles nothing.

vLLM's Model Runner V2 wants Triton with a backend for its platform. Triton's interpreter
(TRITON_INTERPRET=1) runs kernels on CPU tensors and asks no backend anything, so that one which
merely exists lets Model Runner V2 run without a GPU. On the path of the process that starts vLLM,
and before it starts.
"""
