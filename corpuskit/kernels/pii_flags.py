"""What `corpuskit.kernels.pii` says about a line, as plain numbers that need no compiler."""

from __future__ import annotations

NUMBER = 1
"""Seven digits in a row; spaces, dots, hyphens, brackets and plus signs between them do not count."""

EMAIL = 2
"""An ``@``."""

SECRET = 4
"""A ``=`` or ``@``: parameters and passwords in web addresses."""

ADDRESS = 8
"""A digit behind three dots, ``::``, or seven colons."""

PLATE = 16
"""A Han that begins licence plates, right before a capital letter."""

ACCOUNT = 32
"""Five letters or digits in a row near a word for QQ or WeChat."""

IGNORABLE = 64
"""An invisible character, which may stand inside any of these: nothing can be ruled out."""

ANY = 127
