"""Builds the bundled demo crawl, `crawl.warc.gz`, from the articles in `pages/`.

The articles were written for this project. What surrounds them is what a real crawl brings:
navigation, adverts and footers, three ways to declare a charset and none at all, exact copies,
reposts with an edited paragraph, keyword spam, pages in other languages and scripts, an error
page, and a last record that was cut off while being written.

``python -m corpuskit.pipeline.demo.build`` writes the file anew, with the same records.
"""

from __future__ import annotations

import gzip
import html
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from corpuskit.files import atomic_path

CRAWL = Path(__file__).with_name("crawl.warc.gz")
_PAGES = Path(__file__).with_name("pages")


@dataclass(frozen=True)
class Article:
    """One source text: header fields and paragraphs."""

    name: str
    title: str
    site: str
    date: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True)
class Charset:
    """How a site encodes its pages, and where it says so."""

    codec: str
    header: str | None = None
    meta: str | None = None


_CHARSETS = {
    "news.example.cn": Charset("gbk", meta="gb2312"),
    "science.example.cn": Charset("utf-8", header="utf-8", meta="utf-8"),
    "food.example.cn": Charset("gbk", header="GBK"),
    "travel.example.cn": Charset("utf-8", header="UTF-8"),
    "history.example.cn": Charset("gb18030"),
    "tech.example.cn": Charset("utf-8", meta="utf-8"),
    "life.example.cn": Charset("gbk", meta="gbk"),
    "school.example.cn": Charset("gb18030", meta="gb18030"),
    "tw.example.org": Charset("big5", meta="big5"),
}
_DEFAULT_CHARSET = Charset("utf-8", meta="utf-8")

_EXACT_COPIES = ("a02", "a11", "b05", "b17")
_REPOSTS = ("a04", "a09", "a15", "a21", "b02", "b09", "b14", "b22")
_CUT = "a34"


def read_article(path: Path) -> Article:
    """Parse one file of `pages/`: ``key: value`` lines, an empty line, paragraphs."""
    head, _, body = path.read_text(encoding="utf-8").partition("\n\n")
    fields = dict(line.split(": ", 1) for line in head.splitlines())
    paragraphs = tuple(p.strip() for p in body.split("\n\n") if p.strip())
    return Article(path.stem, fields["title"], fields["site"], fields["date"], paragraphs)


def articles() -> list[Article]:
    """All articles, by name."""
    return [read_article(path) for path in sorted(_PAGES.glob("*.txt"))]


def page(article: Article) -> str:
    """The article as a web page of its site."""
    charset = _CHARSETS.get(article.site, _DEFAULT_CHARSET)
    meta = f'<meta charset="{charset.meta}">' if charset.meta else ""
    body = "\n".join(f"<p>{html.escape(p).replace(chr(10), '<br>')}</p>" for p in article.paragraphs)
    if article.site.endswith(".org"):
        layout = _traditional_layout
    else:
        layout = _table_layout if article.site.startswith(("news", "history", "life")) else _block_layout
    title = html.escape(article.title)
    site = article.site.split(".")[0]
    return (
        f"<!DOCTYPE html>\n<html><head>{meta}<title>{title}_{site}</title>\n"
        "<style>body{font-family:sans-serif}.nav a{margin:4px}</style>\n"
        '<script>var page={"id":1,"ads":["a","b"]};function track(){return page.id}</script></head>\n'
        f"<body>\n{layout(title, article.date, body)}\n</body></html>\n"
    )


_MENU = ("首页", "新闻", "科学", "美食", "旅游", "读书", "图片", "视频", "论坛", "登录")


def _links(names: tuple[str, ...]) -> str:
    return " | ".join(f'<a href="/{i}.html">{name}</a>' for i, name in enumerate(names))


def _block_layout(title: str, date: str, body: str) -> str:
    related = ("本周最受欢迎的文章", "编辑推荐：周末去哪儿", "读者来信选登", "往期回顾", "热门排行")
    items = "".join(f'<li><a href="/r/{i}">{name}</a></li>' for i, name in enumerate(related))
    return (
        f'<header><div class="nav">{_links(_MENU)}</div></header>\n'
        f'<main><article><h1>{title}</h1>\n<div class="meta">发布时间：{date}　来源：本站</div>\n'
        f'<div class="content">\n{body}\n</div></article></main>\n'
        f'<aside class="related"><h3>相关阅读</h3><ul>{items}</ul></aside>\n'
        '<div class="ad"><a href="/ad/1">广告：新用户注册即送大礼包</a></div>\n'
        f"<footer>{_links(('关于我们', '联系方式', '网站地图', '返回顶部'))}"
        "<p>版权所有 未经许可不得转载</p></footer>"
    )


def _table_layout(title: str, date: str, body: str) -> str:
    return (
        f'<table width="980"><tr><td colspan="2">{_links(_MENU)}</td></tr>\n'
        f'<tr><td width="700"><h2>{title}</h2><div>{date} <a href="#">大</a> <a href="#">小</a></div>\n'
        f'<div id="text">\n{body}\n</div><div>【<a href="#">打印</a>】【<a href="#">关闭</a>】</div></td>\n'
        '<td width="280"><a href="/ad/2">精彩专题</a><br><a href="/ad/3">特价机票</a><br>'
        '<a href="/ad/4">房产家居</a></td></tr>\n'
        f"<tr><td colspan='2'>{_links(('关于本站', '广告服务', '友情链接', '版权声明'))}</td></tr></table>"
    )


def _traditional_layout(title: str, date: str, body: str) -> str:
    return (
        f'<div id="menu">{_links(("首頁", "新聞", "生活", "旅遊", "登入"))}</div>\n'
        f'<div id="main"><h1>{title}</h1><span>{date}</span>\n{body}\n</div>\n'
        '<div id="side"><a href="/ad/5">廣告刊登</a> <a href="/ad/6">熱門話題</a></div>\n'
        '<div id="foot">版權所有 <a href="/about">關於我們</a></div>'
    )


def _repost(article: Article) -> Article:
    """The same article on another site: a note in front, two edited paragraphs, another date."""
    paragraphs = list(article.paragraphs)
    paragraphs[0] = f"（本文转自网络，略有删改。）{paragraphs[0]}"
    paragraphs[-1] = paragraphs[-1].replace("，", "、", 1) + "全文完。"
    return replace(
        article, site="story.example.cn", date="2025-11-02", name=f"repost-{article.name}",
        paragraphs=tuple(paragraphs),
    )  # fmt: skip


def records() -> Iterator[bytes]:
    """The WARC records of the crawl, one byte string each."""
    yield _record("warcinfo", "", b"software: corpuskit demo\r\nformat: WARC File Format 1.0\r\n")
    sources = articles()
    by_name = {article.name: article for article in sources}
    for article in sources:
        if article.name != _CUT:
            yield _request(article)
            yield _response(article)
    for name in _EXACT_COPIES:
        yield _response(replace(by_name[name], name=f"copy-{name}"))
    for name in _REPOSTS:
        yield _response(_repost(by_name[name]))
    missing = replace(
        by_name["a01"], name="missing", title="页面不存在", paragraphs=("您访问的页面不存在。",)
    )
    yield _response(missing, status="404 Not Found")
    yield _response(by_name[_CUT])


def build(path: Path = CRAWL) -> None:
    """Write the crawl: one gzip member a record, the last one cut in half."""
    members = [gzip.compress(record, compresslevel=9, mtime=0) for record in records()]
    members[-1] = members[-1][: len(members[-1]) // 2]
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"".join(members))


def _url(article: Article) -> str:
    return f"http://{article.site}/{article.date[:4]}/{article.name}.html"


def _request(article: Article) -> bytes:
    content = f"GET /{article.date[:4]}/{article.name}.html HTTP/1.1\r\nHost: {article.site}\r\n\r\n"
    return _record("request", _url(article), content.encode(), "application/http; msgtype=request")


def _response(article: Article, status: str = "200 OK") -> bytes:
    charset = _CHARSETS.get(article.site, _DEFAULT_CHARSET)
    content_type = "text/html" + (f"; charset={charset.header}" if charset.header else "")
    body = page(article).encode(charset.codec)
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    content_type = "application/http; msgtype=response"
    return _record("response", _url(article), head.encode() + body, content_type, article.date)


def _record(
    kind: str,
    url: str,
    content: bytes,
    content_type: str = "application/warc-fields",
    date: str = "2025-12-01",
) -> bytes:
    lines = ["WARC/1.0", f"WARC-Type: {kind}", f"WARC-Date: {date}T08:00:00Z"]
    if url:
        lines.append(f"WARC-Target-URI: {url}")
    lines += [
        f"WARC-Record-ID: <urn:demo:{kind}:{url or 'info'}>",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(content)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content + b"\r\n\r\n"


if __name__ == "__main__":
    build()
    print(f"{CRAWL}: {CRAWL.stat().st_size} bytes")
