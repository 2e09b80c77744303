"""One seed per run, and from it an independent one for each purpose, by name.

Initial weights, dropout and sampling each get their own stream, so that adding one more consumer
of randomness never changes what the others draw.
"""

from __future__ import annotations

import xxhash


def derive(seed: int, name: str) -> int:
    """A 63-bit seed for the purpose `name`: the low bits of ``xxh3_64(f"{seed}/{name}")``."""
    return xxhash.xxh3_64_intdigest(f"{seed}/{name}".encode()) & (2**63 - 1)
