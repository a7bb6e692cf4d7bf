# SPDX-License-Identifier: Apache-2.0
"""Sources of samples: vLLM in this process, a server of ours, servers of others, transformers.

A new one is a module with a class of the protocol base.Backend; each brings libraries of its own,
so it is imported when it is asked for.
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
