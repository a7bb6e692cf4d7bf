# SPDX-License-Identifier: Apache-2.0
"""The error that a user can mend."""


class UserError(ValueError):
    """One line: what is wrong and what to do. The command line exits with 2."""
