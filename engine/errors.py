# SPDX-License-Identifier: Apache-2.0
"""The error for problems that the user can fix."""


class UserError(ValueError):
    """One line: what is wrong and what to do. The command line exits with 2."""
