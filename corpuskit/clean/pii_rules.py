"""Where personal data stands in a line of Chinese text: one rule a kind.

The published rules are English: the e-mail pattern of datatrove begins with a word boundary, which
``邮箱abc@163.com`` does not have (Han are word characters), and none knows resident ID numbers, mobile
numbers or QQ. Here a number is judged by what stands around it as well: the same eleven digits are a
telephone behind 电话 and none behind 订单号, before 元 or inside a longer number.

Rules see a line *folded*: fullwidth forms as ASCII, all spaces and dashes alike, invisible characters gone
(`folded`); one folded character for each that is shown. Earlier kinds of `KINDS` win where two overlap.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cache, cached_property

from corpuskit.clean.pii_validators import is_bank_card, is_public_ipv4, is_public_ipv6, is_resident_id
from corpuskit.kernels import pii_flags as flag

Span = tuple[int, int]

TAKEN = "\x00"
"""Stands in a folded line for what is masked already, so that no rule looks into it."""

_IGNORABLE = (
    "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff0-\ufffd"
    "\ue000-\uf8ff\ufdd0-\ufdef\U000e0000-\U000e007f\U000f0000-\U0010ffff"
)
INVISIBLE = re.compile(f"[{_IGNORABLE}]")
_CELL = re.compile(f"[^{_IGNORABLE}][{_IGNORABLE}]*|^[{_IGNORABLE}]+", re.DOTALL)


@cache
def _fold_table() -> dict[str, str]:
    table = {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    table |= dict.fromkeys(map(chr, [9, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000]), " ")
    return table | dict.fromkeys(map(chr, [*range(0x2010, 0x2016), 0x2212, 0xFE63]), "-")


def folded(line: str) -> tuple[str, str | list[str]]:
    """A line as the rules see it, and as it is shown, cut into as many pieces.

    Where the line has invisible characters, each rides with the character before it.
    """
    # A line has few distinct characters; `str.translate`, which looks at each, took 1.4 times as long.
    distinct = set(line)
    seen = line
    shown: str | list[str] = line
    if INVISIBLE.search("".join(distinct)):
        shown = _CELL.findall(line)
        seen = "".join(cell[0] if INVISIBLE.match(cell) is None else "\u200b" for cell in shown)
    table = _fold_table()
    for character in distinct & table.keys():
        seen = seen.replace(character, table[character])
    return seen, shown


# ---------------------------------------------------------------- what may stand beside a number

_WORDS = (
    "(?<=[Tt][Ee][Ll])|(?<=[Ff][Aa][Xx])|(?<=[Pp]hone)|(?<=[Mm]obile)|(?<=[VvWw][Xx])|(?<=[Qq][Qq])"
    "|(?<=加[Vv])"
)
_LEFT = rf"(?:(?<![0-9A-Za-z_])|{_WORDS})(?<![0-9][.\-])(?<![$¥￥€£第])"
_RIGHT = r"(?![0-9_])(?!\.[0-9])(?![A-Za-z](?<![VvWwQq])|[VvWwQq](?![Qq]|[Xx]|[:+ 信]))"
_STRICT_LEFT = r"(?<![0-9A-Za-z_])(?<![0-9][.\-])(?<![$¥￥€£第])"
_STRICT_RIGHT = r"(?![0-9A-Za-z_])(?!\.[0-9])"

_NOT_A_PERSON = re.compile(
    "(?:订单|訂單|单号|單號|编号|編號|运单|快递|流水|交易|发票|合同|批号|货号|型号|案号|文号|证书|学号|工号|考号|准考证|"
    "信用代码|税号|纳税人|条码|条形码|书号|刊号|序列号|串号|设备号|版本|备案|登记号|注册号|专利|申请号|"
    "(?<![A-Za-z])(?:ISBN|ISSN|IMEI|IMSI|SKU|S/?N|[Nn][Oo]\\.?|order|ORDER|Order))"
    "[^。；;，,、0-9\x00]{0,8}$"
)
_TELEPHONE = re.compile(
    "(?:手机|手機|电话|電話|联系|聯繫|聯絡|致电|拨打|热线|座机|传真|短信|微信|[Tt][Ee][Ll]|[Pp]hone|[Mm]obile)"
    "[^。；;，,0-9]{0,8}$"
)
_CARD = re.compile(
    "(?:卡号|卡號|银行卡|銀行卡|账号|帳號|帐号|账户|信用卡|储蓄卡|借记卡|开户行|收款|汇款|[工建农中]行)[^。；;0-9]{0,12}$"
)
_QUANTITY = re.compile(" ?(?:元|万元|亿|美元|港元|人民币|吨|公里|股|字节|人次|平方|手(?!机)|[KMG]B)")
_URL = re.compile("(?:[a-zA-Z][a-zA-Z0-9+.-]{1,15}://|(?<![a-zA-Z0-9.])www\\.)[!-;=?-~\x00]+")


_CHAIN = re.compile("[0-9+(][0-9 ().+-]{5,}[0-9]")
_NUMBER = re.compile("[0-9]+|[(+]")


class Line:
    """A folded line, with what several rules ask about it."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def urls(self) -> list[Span]:
        has_url = "://" in self.text or "www." in self.text
        return [match.span() for match in _URL.finditer(self.text)] if has_url else []

    @cached_property
    def number_starts(self) -> list[int]:
        """Where seven or more digits can begin: at the first of a run of digits, at ``+`` or ``(``."""
        text = self.text
        chains = (match.span() for match in _CHAIN.finditer(text))
        return [match.start() for span in chains for match in _NUMBER.finditer(text, *span)]

    def numbers(self, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        """Matches from `number_starts`; a pattern that begins with what must not stand before it is slow to
        search."""
        reached = 0
        for start in self.number_starts:
            if start >= reached and (match := pattern.match(self.text, start)):
                reached = match.end()
                yield match

    def in_url(self, position: int) -> bool:
        place = bisect_right(self.urls, (position, len(self.text)))
        return place > 0 and position < self.urls[place - 1][1]

    def before(self, position: int, width: int = 24) -> str:
        return self.text[max(0, position - width) : position]

    def is_other_number(self, position: int, asked: re.Pattern[str]) -> bool:
        """Whether the words before a number make it an order number and the like, and none makes it what is
        asked."""
        before = self.before(position)
        return _NOT_A_PERSON.search(before) is not None and asked.search(before) is None


# ---------------------------------------------------------------- numbers

_RESIDENT_18 = re.compile(
    rf"{_STRICT_LEFT.replace('(?<![0-9A-Za-z_])', '(?:(?<![0-9A-Za-z_])|(?<=[Ii][Dd]))')}"
    r"[1-9][0-9]{5}[ -]?(?:19|20)[0-9]{2}(?:[ -]?[0-9]{2}){2}[ -]?[0-9]{3}[ -]?[0-9Xx]"
    rf"{_STRICT_RIGHT}"
)
_RESIDENT_15 = re.compile(rf"{_STRICT_LEFT}[1-8][0-9]{{14}}{_STRICT_RIGHT}(?!-[0-9])")
_NOT_15 = re.compile("(?<![A-Za-z])MEID|设备|账号|帐号|卡号")
_IDENTITY = re.compile("(?:身份|身分|证件|證件|证号|ID)[^。；;，,0-9]{0,8}$")


def resident_ids(line: Line) -> Iterator[Span]:
    """18 digits with a right check character, or 15 that nothing says are another number."""
    for match in line.numbers(_RESIDENT_18):
        if is_resident_id(re.sub("[ -]", "", match[0])):
            yield match.span()
    for match in line.numbers(_RESIDENT_15):
        before = line.before(match.start())
        if line.in_url(match.start()) or not is_resident_id(match[0]):
            continue
        if _IDENTITY.search(before) or not (_NOT_A_PERSON.search(before) or _NOT_15.search(before)):
            yield match.span()


_BANK_CARD = re.compile(
    rf"{_STRICT_LEFT}(?:"
    r"[0-9]{16,19}(?!-[0-9])"
    r"|[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{1,3}(?![0-9]))?(?!\1[0-9]{4}(?![0-9]))"
    r"|[0-9]{6}[ -][0-9]{10,13}"
    rf"){_STRICT_RIGHT}"
)


def bank_cards(line: Line) -> Iterator[Span]:
    """16 to 19 digits of a known issuer with a right check digit, whole or in groups of four."""
    for match in line.numbers(_BANK_CARD):
        if not is_bank_card(re.sub("[ -]", "", match[0])):
            continue
        if not line.in_url(match.start()) and not line.is_other_number(match.start(), _CARD):
            yield match.span()


_MOBILE = re.compile(
    rf"{_LEFT}(?:\(?(?:\+ ?|00)?86\)?[ -]{{0,2}}|0)?"
    r"(1(?:3[0-9]|4[5-9]|5[0-35-9]|6[2567]|7[0-8]|8[0-9]|9[0-35-9])(?:[ .-]?[0-9]){8})"
    rf"{_RIGHT}(?!-[0-9]{{5,10}}(?![0-9]))(?:-[0-9]{{1,4}}(?![0-9]))?"
)
_MOBILE_GROUPS = {(11,), (3, 4, 4), (4, 3, 4), (4, 4, 3), (3, 8), (7, 4), (3, 3, 5)}
_NEXT_MOBILE = re.compile(" (?:1[3-9][0-9]|0[0-9]{2,3}-|\\()")


def mobiles(line: Line) -> Iterator[Span]:
    """Eleven digits of a mobile network, whole or grouped, with or without +86.

    Networks as assigned by the ministry up to 2024 (13x, 145-149, 150-153, 155-159, 162, 165-167, 170-178,
    18x, 190-193, 195-199).
    """
    for match in line.numbers(_MOBILE):
        groups = re.split("[ .-]", match[1])
        separators = set(re.findall("[ .-]", match[1]))
        if tuple(map(len, groups)) not in _MOBILE_GROUPS or len(separators) > 1:
            continue
        start, stop = match.span()
        if len(groups) > 1:  # a window of a longer number in groups?
            if re.search("[0-9] $", line.before(start, 2)):
                continue
            if re.match(" [0-9]", line.text[stop : stop + 2]) and not _NEXT_MOBILE.match(line.text, stop):
                continue
        if line.in_url(start) or _QUANTITY.match(line.text, stop) or line.is_other_number(start, _TELEPHONE):
            continue
        yield start, stop


_AREA = "(?:10|2[0-57-9]|3[1-79][0-9]|4[1-8][0-9]|5[1-9][0-9]|6[369][0-9]|7[0-9]{2}|8[1-9][0-9]|9[0-9]{2})"
_EXTENSION = "(?: ?(?:转|轉|ext\\.?|分机|-) ?[0-9]{1,5})?"
_LANDLINE = re.compile(
    rf"{_LEFT}(?:\(?(?:(?:\+ ?|00)86\)?[ -]?|86[ -])\(?0?|\(?0)({_AREA})\)?[ -]{{0,2}}"
    rf"([2-8][0-9]{{2,3}}[ -]?[0-9]{{4}}){_EXTENSION}{_RIGHT}"
)
_LOCAL = re.compile(rf"([2-8][0-9]{{3}}[ -]?[0-9]{{4}}|[2-8][0-9]{{6}}){_EXTENSION}{_RIGHT}(?![ -]?[0-9])")
_CALLED = re.compile(
    rf"\(?0[0-9]{{2,3}}(?:\)[ -]{{0,2}}|[ -]{{1,2}})[1-9][0-9]{{6,7}}{_EXTENSION}{_RIGHT}(?![ -]?[0-9])"
)
_LOCAL_WORD = re.compile(
    "(?:电话|電話|座机|固话|传真|傳真|致电|热线|家电|[Tt][Ee][Ll]|[Ff][Aa][Xx])(?:号码|號碼|号)?[是为為]?"
    "[ :.]{0,3}$"
)


def landlines(line: Line) -> Iterator[Span]:
    """A number with its area code, or seven or eight digits behind 电话 and the like, where an area code set
    apart is one whatever follows.

    After 010 and 02x come eight digits, after other area codes seven or eight; 400 and 800 numbers, which
    belong to firms only, are left.
    """
    for match in line.numbers(_LANDLINE):
        digits = re.sub("[ -]", "", match[2])
        if len(match[1]) == 2 and len(digits) != 8:
            continue
        start = match.start()
        if (
            line.in_url(start)
            or _QUANTITY.match(line.text, match.end())
            or line.is_other_number(start, _TELEPHONE)
        ):
            continue
        yield match.span()
    for match in (*line.numbers(_CALLED), *line.numbers(_LOCAL)):
        if _LOCAL_WORD.search(line.before(match.start(), 12)) and not _QUANTITY.match(line.text, match.end()):
            yield match.span()


_PASSPORT = re.compile(
    rf"{_STRICT_LEFT}(?:[EG][0-9]{{8}}|E[A-HJ-NP-Z][0-9]{{7}}|[DSP]E?[0-9]{{7}}|1[45][0-9]{{7}}|"
    rf"[HM](?:[0-9]{{10}}|[0-9]{{8}})|K[A-Z]?[0-9]{{7,8}}|C[A-Z0-9][0-9]{{7}}|[TL][0-9]{{8}}){_STRICT_RIGHT}(?!-[0-9])",
    re.IGNORECASE,
)
_TRAVEL = re.compile("护照|護照|通行证|通行證|回乡证|台胞证|出入境|passport", re.IGNORECASE)


def passports(line: Line) -> Iterator[Span]:
    """Numbers of passports and travel permits, within 24 characters behind or 12 before a word for one.

    They have no check digit outside the machine-readable zone, and E with eight digits is also a part number:
    without the word it is left.
    """
    if _TRAVEL.search(line.text) is None:
        return
    for match in _PASSPORT.finditer(line.text):
        around = line.before(match.start()) + "\n" + line.text[match.end() : match.end() + 12]
        if _TRAVEL.search(around) and not line.in_url(match.start()):
            yield match.span()


# ---------------------------------------------------------------- licence plates

PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼滬遼魯蘇贛晉陝閩貴粵寧瓊雲"
_PLATE_LETTERS = "A-HJ-NP-Z"
_PLATE = re.compile(
    rf"[{PROVINCES}] ?[{_PLATE_LETTERS}][ ·•.-]?(?:"
    rf"[A-HJK](?:[{_PLATE_LETTERS}0-9])[0-9]{{4}}|[0-9]{{5}}[A-HJK]|"
    rf"([{_PLATE_LETTERS}0-9]{{5}})|([{_PLATE_LETTERS}0-9]{{4}})[警学學挂领領港澳]"
    r")(?![0-9A-Za-z])(?![.-][0-9])"
)


def licence_plates(line: Line) -> Iterator[Span]:
    """GA 36-2018: a province, a letter, five characters with at most two letters; six on new-energy
    vehicles."""
    for match in _PLATE.finditer(line.text):
        serial = match[1] or match[2]
        if serial and sum(c.isdigit() for c in serial) < len(serial) - 2:
            continue
        if _QUANTITY.match(line.text, match.end()) is None:
            yield match.span()


# ---------------------------------------------------------------- addresses

_LOCAL_PART = re.compile("[A-Za-z0-9_](?:[A-Za-z0-9._%+-]{0,62}[A-Za-z0-9_+-])?$")
_DOMAIN = re.compile("(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\\.)+[A-Za-z]{2,24}(?![A-Za-z])")
_FILE_NAME = re.compile("\\.(?:png|jpe?g|gif|webp|svg|css|js|pdf|txt|zip|html?)$", re.IGNORECASE)


def emails(line: Line) -> Iterator[Span]:
    """ASCII on both sides of ``@``, wherever Han stand before or behind."""
    text = line.text
    at = text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        local = _LOCAL_PART.search(text[max(0, at - 64) : at]) if domain else None
        if domain and local and ".." not in local[0] and not _FILE_NAME.search(domain[0]):
            yield at - len(local[0]), domain.end()
        at = text.find("@", at + 1)


_SECRET_KEYS = (
    "(?:(?:access|refresh|id|auth|user|csrf|xsrf|api|security|x-amz-security)[_-]?)?token|authorization|auth|"
    "(?:api|app|access|secret|private|aws|oss)[_-]?(?:key|secret)(?:[_-]?id)?|(?:client|app)?[_-]?secret|"
    "(?:awsaccesskeyid|ossaccesskeyid)|(?:j|php|asp\\.net_)?session(?:[_-]?id|[_-]?key)?|"
    "aspsessionid[a-z]*|(?:php)?sessid|sid|x-amz-(?:signature|credential)|sign|signature|sig|ticket|pass_ticket|openid|unionid|"
    "uuid|mobile|phone|tel|idcard|id_card"
)
_SECRET = re.compile(
    rf"[?&;#](?<=[A-Za-z0-9/_=%.\x00-].)(?:(?:{_SECRET_KEYS})=([A-Za-z0-9._~%+/=:|-]{{6,}})|"
    "(?:password|passwd|pwd)=([A-Za-z0-9._~%+/=:|!*$-]+))",
    re.IGNORECASE,
)
_USER_INFO = re.compile(
    "://([^/?#@\\s:\x00]{1,64}:[^/?#@\\s\x00]{1,256}|[A-Za-z0-9_-]{20,255})@(?=[A-Za-z0-9\\[])"
)


def url_secrets(line: Line) -> Iterator[Span]:
    """In a web address, the value of a parameter that names a token, session, key or telephone, and
    ``user:password``.

    The rest of the address is left.
    """
    for match in _USER_INFO.finditer(line.text):
        yield match.span(1)
    for match in _SECRET.finditer(line.text):
        yield match.span(match.lastindex or 0)


_IPV4 = re.compile(
    r"[0-9](?<![0-9A-Za-z_.-].)[0-9]{0,2}\.(?:[0-9]{1,3}\.){2}[0-9]{1,3}(?![0-9A-Za-z_]|\.[0-9]|-[0-9])"
)
_VERSION = re.compile(
    "(?:版本|版|固件|内核|升级到|更新到|[Vv]ersion|[Vv]er\\.?|[A-Za-z]/|第|章|节|图|表)[^。；;，,0-9]{0,6}$"
)
_ADDRESS_WORD = re.compile(
    "(?:IP|ip|Ip|DNS|dns|地址|服务器|伺服器|主机|网关|端口|来自|登录|访问|连接|ping|host|server|://|@)[^。；;]{0,8}$"
)
_IPV6 = re.compile(
    r"(?:(?<![0-9A-Za-z_:.])(?!:(?!:))|(?<=[^0-9A-Fa-f:.]:)(?!:))(?=[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:)[0-9A-Fa-f:]{6,39}(?![0-9A-Za-z_:]|\.[0-9])"
)


def ip_addresses(line: Line) -> Iterator[Span]:
    """Addresses of the public internet.

    Four small numbers with dots are as often the number of a section or a version as an address: where no
    octet reaches 100 a word such as IP, 服务器 or a port must be beside it.
    """
    for match in _IPV4.finditer(line.text):
        start, stop = match.span()
        before = line.before(start, 16)
        if not is_public_ipv4(match[0]) or match[0].endswith(".0.0.0") or _VERSION.search(before):
            continue
        if max(map(int, match[0].split("."))) < 100:
            port = re.match(":[0-9]{2,5}(?![0-9])|/[0-9]{1,2}(?![0-9])", line.text[stop : stop + 7])
            if port is None and _ADDRESS_WORD.search(before) is None:
                continue
        yield start, stop
    if "::" not in line.text and line.text.count(":") < 7:
        return
    for match in _IPV6.finditer(line.text):
        if is_public_ipv6(match[0]):
            yield match.span()


# ---------------------------------------------------------------- accounts

_BETWEEN = "[ \"'“”「」:(\\[【]{0,5}"
_LABEL = f"(?:号码|號碼|账号|帐号|帳號|号|號|ID|Id|id|名)?(?: ?[是为為])?{_BETWEEN}"
_SEPARATOR = "(?: ?(?:[、/,;或和] ?){1,2})"
_NEXT = f"(?:\x00+{_SEPARATOR})*"
_QQ_NUMBER = "([1-9][0-9]{4,10})(?![0-9A-Za-z_@]|\\.[0-9A-Za-z])(?! ?[万亿元人年个版名位次条月级])"
_QQ_MORE = re.compile(_SEPARATOR + _QQ_NUMBER)
_QQ = re.compile(
    "[Qq扣加](?:(?<=[Qq])(?<![A-Za-z0-9].)[Qq]|(?<=扣)扣|(?<=加)[Qq]{1,2})(?:群|客服|邮箱)?"
    f"{_LABEL}{_NEXT}{_QQ_NUMBER}"
)


def qq_numbers(line: Line) -> Iterator[Span]:
    """Five to eleven digits behind QQ or 扣扣, and those that follow in a list."""
    for match in _QQ.finditer(line.text):
        number: re.Match[str] | None = match
        while number:
            yield number.span(1)
            number = _QQ_MORE.match(line.text, number.end())


_WECHAT_ACCOUNT = (
    "(?P<id>[A-Za-z][A-Za-z0-9_-]{5,19}|[0-9]{6,11})"
    "(?![A-Za-z0-9_@-]|\\.[A-Za-z0-9]|://)(?! ?[万亿元人年个版名位次条])"
)
_WECHAT = re.compile(
    "[微薇VvWw加+](?:"
    "(?:(?<=[微薇Vv])信|(?<=[Ww])(?<![A-Za-z].)e(?:ixin|[Cc]hat))"
    "(?P<label>号码|號碼|账号|帐号|帳號|同号|号|號| ?ID| ?id)?|"
    "(?P<short>(?<=[VvWw])(?<![A-Za-z].)[Xx](?:号码?)?|(?<=[加+])我?[Vv](?:信|[Xx])?))"
    f"(?: ?[是为為])?(?P<between>{_BETWEEN}){_NEXT}"
    f"{_WECHAT_ACCOUNT}"
)
_WECHAT_MORE = re.compile(_SEPARATOR + _WECHAT_ACCOUNT)
_WECHAT_ID = re.compile("wxid_(?<![A-Za-z0-9_].{5})[A-Za-z0-9]{8,24}(?![A-Za-z0-9_])")


def wechat_ids(line: Line) -> Iterator[Span]:
    """A WeChat id behind 微信, 加V, vx and the like, and the internal ``wxid_…``.

    Ids have 6 to 20 characters and begin with a letter (WeChat's own rule); behind a bare 微信 or with
    nothing but a space between, a word without a digit is a word (微信 Android). 公众号 are publications,
    not people, and left. In a list, those that follow need a digit.
    """
    for match in _WECHAT_ID.finditer(line.text):
        yield match.span()
    for match in _WECHAT.finditer(line.text):
        marked = "\x00" not in match[0] and (":" in match["between"] or match["label"])
        account = match["id"]
        if not marked and not _has_digit(account):
            continue
        if match["short"] and account.isdigit() and not match["between"]:
            continue
        yield match.span("id")
        further = _WECHAT_MORE.match(line.text, match.end())
        while further and _has_digit(further["id"]):
            yield further.span("id")
            further = _WECHAT_MORE.match(line.text, further.end())


def _has_digit(account: str) -> bool:
    return "_" in account or any(c.isdigit() for c in account)


RULES: dict[str, tuple[int, Callable[[Line], Iterator[Span]]]] = {
    "url_secret": (flag.SECRET, url_secrets),
    "email": (flag.EMAIL, emails),
    "resident_id": (flag.NUMBER, resident_ids),
    "bank_card": (flag.NUMBER, bank_cards),
    "mobile": (flag.NUMBER, mobiles),
    "landline": (flag.NUMBER, landlines),
    "passport": (flag.NUMBER, passports),
    "licence_plate": (flag.PLATE, licence_plates),
    "ip_address": (flag.ADDRESS, ip_addresses),
    "qq": (flag.ACCOUNT, qq_numbers),
    "wechat": (flag.ACCOUNT, wechat_ids),
}
"""The kinds in the order in which they claim text, with the kernel flag of the lines they can match in."""

KINDS = tuple(RULES)


def find(line: str, flags: int = flag.ANY) -> list[tuple[int, int, str]]:
    """Start, end and kind of all personal data in one folded line, in order, without overlaps.

    Parameters
    ----------
    line : str
        As `folded` returns it.
    flags : int
        What the kernel found possible; kinds that need another flag are not looked for.
    """
    if flags & flag.IGNORABLE:
        flags = flag.ANY
    text = Line(line)
    found: list[tuple[int, int, str]] = []
    taken = bytearray(len(line))
    for kind, (needed, rule) in RULES.items():
        if flags & needed:
            for start, stop in rule(text):
                if not any(taken[start:stop]):
                    taken[start:stop] = b"\1" * (stop - start)
                    found.append((start, stop, kind))
    return sorted(found)
