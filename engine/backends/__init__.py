# SPDX-License-Identifier: Apache-2.0
"""Backends that generate samples: vLLM in this process, HTTP servers, Hugging Face Transformers.

A new backend is a module with a class that implements base.Backend. Backends are imported on
demand, since each needs its own libraries.
"""

from gars_vllm.engine.backends.base import (
    Backend,
    Drawn,
    Job,
    Request,
    Requests,
    sampling_parameters,
    seed_of,
)
from gars_vllm.engine.backends.settings import OnInvalid, Settings

__all__ = [
    "Backend",
    "Drawn",
    "Job",
    "OnInvalid",
    "Request",
    "Requests",
    "Settings",
    "sampling_parameters",
    "seed_of",
]
