"""What tells a resident ID number, a bank card or a public address from other digits: checksums and
registers.

A regular expression alone takes one 18-digit number in 50 with a plausible date for an ID number; the check
character leaves one in eleven of those.
"""

from __future__ import annotations

import datetime
import ipaddress
from functools import cache

PROVINCE_CODES = frozenset(
    [
        *range(11, 16),
        *range(21, 24),
        *range(31, 38),
        *range(41, 47),
        *range(50, 55),
        *range(61, 66),
        71,
        81,
        82,
        83,
    ]
)
"""First two digits of an ID number: GB/T 2260, with 81 to 83 for residence permits of Hong Kong, Macao and
Taiwan residents (2018)."""

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_CHARACTERS = "10X98765432"


def resident_id_check(digits: str) -> str:
    """The check character of the first 17 digits: ISO 7064 MOD 11-2, as GB 11643-1999 gives it."""
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, digits))
    return _CHECK_CHARACTERS[total % 11]


def is_resident_id(number: str) -> bool:
    """Whether 18 or 15 characters are a resident ID number.

    Both lengths need a known province, a county that is not 00 and a date of the calendar (18 digits: 1900 to
    2099; 15 digits: 19yy); 18 characters also the right check character. A first digit 9, of the permanent
    residence card of 2023, has its province in the digits after it.
    """
    if len(number) == 18:
        region = number[1:3] if number[0] == "9" else number[:2]
        if number[0] != "9" and number[4:6] == "00":
            return False
        date = number[6:14]
        if not "1900" <= date[:4] <= "2099" or resident_id_check(number[:17]) != number[17].upper():
            return False
    elif len(number) == 15:
        region, date = number[:2], "19" + number[6:12]
        if number[2:4] == "00" or number[4:6] == "00" or number[12:] == "000":
            return False
    else:
        return False
    return int(region) in PROVINCE_CODES and _is_date(date)


def _is_date(digits: str) -> bool:
    try:
        datetime.date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return False
    return True


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the Luhn check digit of the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit)
        if place % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


_CARD_PREFIXES: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    (62, 62, (16, 17, 18, 19)),
    (81, 81, (16, 17, 18, 19)),
    (9558, 9559, (16, 17, 18, 19)),
    (6013, 6013, (16, 19)),
    (436742, 436745, (16, 18, 19)),
    (456351, 456351, (19,)),
    (4, 4, (16,)),
    (51, 55, (16,)),
    (2221, 2720, (16,)),
    (3528, 3589, (16,)),
    (6011, 6011, (16,)),
    (64, 65, (16,)),
)
"""First digits (from, to) and the lengths they are issued with: UnionPay 62 and 81 (ISO/IEC 7812 register),
the ICBC, ABC, BOC and CCB cards older than it, Visa 4, Mastercard 51 to 55 and 2221 to 2720, JCB 3528 to
3589, Discover."""


def is_bank_card(digits: str) -> bool:
    """Whether 16 to 19 digits are a card number: issuer prefix with its length, and Luhn's check digit."""
    for first, last, lengths in _CARD_PREFIXES:
        if len(digits) in lengths and first <= int(digits[: len(str(first))]) <= last:
            return passes_luhn(digits) and len(set(digits)) > 1
    return False


_NOT_PUBLIC_V4 = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/3",
)  # fmt: skip
"""The IANA IPv4 special-purpose registry with multicast and the reserved class E (224.0.0.0/3): not addresses
of anybody's machine. A table of ours, because that of the ipaddress module changes with the Python
release."""

_PUBLIC_V6 = "2000::/3"
_NOT_PUBLIC_V6 = ("2001::/23", "2001:db8::/32", "3fff::/20", "2002::/16")
"""IANA: global unicast is 2000::/3; of it are protocol assignments, documentation (twice) and 6to4."""


@cache
def _networks(*names: str) -> tuple[tuple[int, int], ...]:
    """Network and mask of each as integers."""
    parsed = [ipaddress.ip_network(name) for name in names]
    return tuple((int(network.network_address), int(network.netmask)) for network in parsed)


def is_public_ipv4(text: str) -> bool:
    """Whether dotted octets are an address of the public internet."""
    octets = text.split(".")
    if len(octets) != 4 or any(int(o) > 255 or (len(o) > 1 and o[0] == "0") for o in octets):
        return False
    value = int.from_bytes(bytes(map(int, octets)), "big")
    return not any(value & mask == network for network, mask in _networks(*_NOT_PUBLIC_V4))


def is_public_ipv6(text: str) -> bool:
    """Whether `text` is a global unicast IPv6 address."""
    try:
        value = int(ipaddress.IPv6Address(text))
    except ValueError:
        return False
    ((public, public_mask),) = _networks(_PUBLIC_V6)
    if value & public_mask != public:
        return False
    return not any(value & mask == network for network, mask in _networks(*_NOT_PUBLIC_V6))
