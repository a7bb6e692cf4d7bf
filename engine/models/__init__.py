# SPDX-License-Identifier: Apache-2.0
"""Models: the catalogue, downloading files, prompt kinds, tokenizers.

To add a model, add an entry to catalogue.MODELS.
"""

from gars_vllm.engine.models.catalogue import DEFAULT, MODELS, PUBLISHED, ModelSpec, lookup
from gars_vllm.engine.models.files import (
    Download,
    ModelFiles,
    folder_of,
    hub_answers,
    kept_folder,
    resolve,
)
from gars_vllm.engine.models.parameters import parameters_of
from gars_vllm.engine.models.prompt_kinds import PromptEnd, PromptKind

__all__ = [
    "DEFAULT",
    "MODELS",
    "PUBLISHED",
    "Download",
    "ModelFiles",
    "ModelSpec",
    "PromptEnd",
    "PromptKind",
    "folder_of",
    "hub_answers",
    "kept_folder",
    "lookup",
    "parameters_of",
    "resolve",
]
