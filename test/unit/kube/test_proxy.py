"""The rules are those of Go's httpproxy, which kubectl uses; many cases are those of its own tests."""

import pytest

from capk.kube.proxy import proxy_for

PROXY = "http://proxy:3128"


def asks_proxy(host: str, no_proxy: str, port: int = 80) -> bool:
    return proxy_for(f"https://{host}:{port}/", {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy}) == PROXY


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": PROXY}, PROXY),
        ({"https_proxy": PROXY}, PROXY),
        ({"HTTPS_PROXY": "http://upper", "https_proxy": "http://lower"}, "http://upper"),
        ({"HTTPS_PROXY": "", "https_proxy": "http://lower"}, "http://lower"),
        ({"HTTP_PROXY": PROXY}, None),
        ({"ALL_PROXY": PROXY}, None),
        ({"HTTPS_PROXY": "proxy:3128"}, PROXY),
        ({"HTTPS_PROXY": "proxy"}, "http://proxy"),
        ({"HTTPS_PROXY": "127.0.0.1:8080"}, "http://127.0.0.1:8080"),
        ({"HTTPS_PROXY": "https://proxy:1"}, "https://proxy:1"),
        ({"HTTPS_PROXY": "http://[::1"}, None),
        ({"HTTPS_PROXY": "http://proxy:port"}, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "other.example"}, PROXY),
        ({"HTTPS_PROXY": PROXY, "no_proxy": "localhost,.example.org"}, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "other.example", "no_proxy": ".example.org"}, PROXY),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "", "no_proxy": ".example.org"}, None),
    ],
    ids=str,
)
def test_proxy_is_that_of_the_environment(environment: dict[str, str], proxy: str | None) -> None:
    assert proxy_for("https://api.example.org:6443", environment) == proxy


def test_each_scheme_has_its_own_proxy() -> None:
    environment = {"HTTP_PROXY": "http://plain", "HTTPS_PROXY": "http://secure"}
    assert proxy_for("http://api.example", environment) == "http://plain"
    assert proxy_for("https://api.example", environment) == "http://secure"
    assert proxy_for("ftp://api.example", environment) is None


@pytest.mark.parametrize("url", ["", "https://", "https://[::1", "https://api:port", "api.example"])
def test_url_that_is_none_has_no_proxy(url: str) -> None:
    assert proxy_for(url, {"HTTPS_PROXY": PROXY, "HTTP_PROXY": PROXY}) is None


@pytest.mark.parametrize(
    ("host", "is_asked"),
    [
        ("localhost", False),
        ("127.0.0.1", False),
        ("127.0.0.2", False),
        ("[::1]", False),
        ("[::2]", True),
        ("192.168.1.1", False),
        ("192.168.1.2", True),  # another port
        ("192.168.1.3", False),
        ("192.168.1.4", True),
        ("10.0.0.2", False),
        ("10.0.0.4", True),
        ("[2001:db8::52:0:1]", False),
        ("[2001:db8::52:0:2]", True),  # another port
        ("[2001:db8::52:0:3]", False),
        ("[2002:db8:a::123]", False),
        ("[fe80::424b:c8be:1643:a1b6]", True),
        ("barbaz.net", True),
        ("www.barbaz.net", False),
        ("foobar.com", False),
        ("FooBar.com", False),
        ("www.foobar.com", False),
        ("foofoobar.com", True),
        ("baz.com", True),
        ("localhost.net", True),
        ("local.localhost", True),
        ("barbarbaz.net", True),
        ("wildcard.io", True),
        ("nested.wildcard.io", False),
        ("awildcard.io", True),
    ],
)
def test_no_proxy_is_read_as_go_reads_it(host: str, is_asked: bool) -> None:
    no_proxy = (
        "foobar.com, .barbaz.net, *.wildcard.io, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, 10.0.0.0/30, "
        "2001:db8::52:0:1, [2001:db8::52:0:2]:443, [2001:db8::52:0:3]:80, 2002:db8:a::45/64"
    )
    assert asks_proxy(host, no_proxy) is is_asked
    assert not asks_proxy(host, f"{no_proxy},*")


@pytest.mark.parametrize(
    ("host", "no_proxy", "is_asked"),
    [
        ("10.96.0.1", "10.96.0.0/12,10.244.0.0/16,.svc,.cluster.local", False),
        ("10.112.0.1", "10.96.0.0/12,10.244.0.0/16,.svc,.cluster.local", True),
        ("kubernetes.default.svc", ".svc", False),
        ("kubernetes.default.svc.cluster.local", ".svc", True),
        ("[fd00:10:96::1]", "fd00:10:96::/112", False),
        ("[fd00:10:96::1]", "[fd00:10:96::1]", True),  # brackets only go with a port
        ("[::ffff:10.0.0.1]", "10.0.0.0/8", False),
        ("[fe80::1%25eth0]", "fe80::/10", False),
        ("10.0.0.1", "10.0.0.0/255.0.0.0", True),
        ("10.0.0.1", "10.0.0.0/33", True),
        ("10.0.0.1", ".0.0.1", True),
        ("api.example", "10.0.0.0/8", True),
        ("api.example", "10.0.0.1", True),
        ("api.example", "api.example:80", False),
        ("api.example", "api.example:443", True),
        ("api.example", "*.example:80", False),
        ("api.example", "  API.example  ", False),
        ("api.example", ":80", True),
        ("api.example", ",, ,", True),
        ("api.example", "a:b:c,[,],/,/8,%", True),
        ("www.xn--fsq092h.com", "示例.com", False),
        ("www.示例.com", "xn--fsq092h.com", False),
        ("www.示例.com", ".示例.com", False),
    ],
)
def test_addresses_ranges_names_and_ports_are_told_apart(host: str, no_proxy: str, is_asked: bool) -> None:
    assert asks_proxy(host, no_proxy) is is_asked


def test_port_of_the_scheme_counts_when_the_url_has_none() -> None:
    environment = {"HTTPS_PROXY": PROXY, "NO_PROXY": "api.example:443"}
    assert proxy_for("https://api.example", environment) is None
