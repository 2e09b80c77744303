"""Blocklists: which addresses they cover, how they are read, and what is said of a bad one."""

import gzip
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.clean import Cleaner, Urls
from corpuskit.clean.urls import domains_above, is_blocked, load_blocklist, paths_above, split_address
from corpuskit.documents import document_batch
from corpuskit.errors import ConfigError, InputError


@pytest.fixture
def listed(tmp_path):
    path = tmp_path / "block.txt"
    path.write_text(
        "\ufeff# 说明\nbad.com\n\n  WWW.Shop.cn \r\nhttp://news.org:80/gamble/\n10.1.2.3\nwww.tk\n例子.中国\nforum.net/a?id=1\n",
        encoding="utf-8",
    )
    return str(path)


@pytest.mark.parametrize(
    "url,blocked",
    [
        ("http://bad.com", True),
        ("https://user@M.Bad.com.:8080/x", True),
        ("//bad.com/x", True),
        ("bad.com/x", True),
        ("http://notbad.com/", False),
        ("http://bad.com.cn/", False),
        ("http://com/", False),
        ("http://a.com/bad.com", False),
        ("http://a.com?u=http://bad.com", False),
        ("http://shop.cn/", True),
        ("http://www.shop.cn/", True),
        ("http://news.org/gamble", True),
        ("http://news.org/gamble/1.html?x#y", True),
        ("http://news.org/gambler", False),
        ("http://news.org/", False),
        ("http://sub.news.org/gamble/", False),
        ("http://10.1.2.3/a", True),
        ("http://9.10.1.2.3/a", False),
        ("http://10.1.2.30/a", False),
        ("http://例子.中国/页", True),
        ("http://xn--fsqu00a.xn--fiqs8s/", True),
        ("http://forum.net/a?id=1", True),
        ("http://forum.net/a?id=2", False),
        ("http://forum.net/a", False),
        ("http://www.tk/", True),
        ("http://other.tk/", False),
        ("", False),
        ("file:///bad.com", False),
        ("[::1", False),
    ],
)
def test_a_domain_covers_what_is_below_it_and_an_address_what_is_below_its_path(listed, url, blocked):
    assert is_blocked(url, load_blocklist((listed,))) is blocked


def test_the_step_drops_with_a_reason_and_lets_unknown_addresses_pass(listed):
    urls = ["http://a.bad.com/1", None, "http://good.com", "http://bad.com/2"]
    batch = document_batch(list("abcd"), ["文"] * 4, {"url": urls})
    for step in (Urls((listed,)), Cleaner(urls=Urls((listed,))), pickle.loads(pickle.dumps(Urls((listed,))))):
        kept, dropped = step(batch)
        assert kept.column("id").to_pylist() == ["b", "c"]
        assert dropped.select(["id", "reason", "value", "threshold"]).to_pylist() == [
            {"id": i, "reason": "clean/url_blocklist", "value": 1.0, "threshold": 0.0} for i in "ad"
        ]
    for nothing in (document_batch(["a"], ["文"]), document_batch([], [], {"url": []})):
        assert Urls((listed,))(nothing) == (nothing, None)
    assert Urls()(batch).dropped is None


def test_ut1_directories_are_read_by_category(tmp_path):
    for category, files in {
        "adult": {"domains": b"sex.com\n", "urls": b"host.com/x\n"},
        "press": {"domains": b"paper.com\n"},
    }.items():
        (tmp_path / category).mkdir()
        for name, content in files.items():
            (tmp_path / category / name).write_bytes(content)
    (tmp_path / "games").mkdir()
    (tmp_path / "games" / "domains.gz").write_bytes(gzip.compress(b"# play\nplay.com\n"))
    everything = load_blocklist((str(tmp_path),))
    adult = load_blocklist((str(tmp_path),), ("adult",))
    for url, in_all, in_adult in (
        ("http://a.sex.com", True, True),
        ("http://host.com/x/y", True, True),
        ("http://host.com", False, False),
        ("http://paper.com", True, False),
        ("http://play.com", True, False),
    ):
        assert (is_blocked(url, everything), is_blocked(url, adult)) == (in_all, in_adult)
    with pytest.raises(InputError, match=r"no category 'nothing'.*adult, games, press"):
        load_blocklist((str(tmp_path),), ("adult", "nothing"))


@pytest.mark.parametrize(
    "name,content,where",
    [
        ("a.txt", b"ok.com\n\n/only/a/path\n", "a.txt:3"),
        ("b.txt", b"ok.com\nbad host.com\n", "b.txt:2"),
        ("c.txt", b"ok.com\n\xff\xfe.com\n", "c.txt:2"),
        ("d.gz", b"not gzip\n", "d.gz"),
    ],
)
def test_a_bad_list_is_named_with_its_line(tmp_path, name, content, where):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=where):
        load_blocklist((str(tmp_path / name),))


def test_missing_and_empty_lists_are_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        Urls((str(tmp_path / "nowhere"),))(document_batch(["a"], ["文"], {"url": ["http://a.com"]}))
    with pytest.raises(InputError, match="no list"):
        load_blocklist((str(tmp_path),))
    with pytest.raises(ConfigError):
        Urls(("",))


@given(st.text("ab./?#@:[]例 ", max_size=20) | st.text(max_size=20))
def test_any_text_can_be_asked_for(url):
    host, rest = split_address(url)
    assert domains_above(host)[0] == host
    assert all(path.startswith(host) for path in paths_above(host, rest))
    assert is_blocked(url, load_blocklist(())) is False
