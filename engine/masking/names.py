# SPDX-License-Identifier: Apache-2.0
"""Names that a vLLM's processes share: of what it loads, and of variables in its environment."""

PROCESSOR = "gars_vllm.engine.vllm.processor:GrammarProcessor"
CPU_PROCESSOR = "gars_vllm.engine.vllm.cpu_processor:CpuProcessor"  # the same, and it draws
# Files, written by the processor: the time in the mask, and the samples' weights.
STATISTICS = "GARS_STATISTICS"
WEIGHTS = "GARS_WEIGHTS"
# Where a request may name a grammar's file: 1, or the files, as in PATH.
FILES_ALLOWED = "GARS_GRAMMAR_FILES"
