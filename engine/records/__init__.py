# SPDX-License-Identifier: Apache-2.0
"""Files on disk: JSON Lines, and the schemas that they are checked against.

A new kind of file gets a schema in records.py.
"""

from gars_vllm.engine.records.json_lines import JsonLines
from gars_vllm.engine.records.records import Record, lines_of, record_of
from gars_vllm.engine.records.whole_file import write_whole

__all__ = ["JsonLines", "Record", "lines_of", "record_of", "write_whole"]
