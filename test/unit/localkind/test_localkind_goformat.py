import pytest

from capk.localkind.goformat import UnknownTemplate, render

DOCUMENT = {
    "Id": "0123",
    "State": {"Running": True},
    "Config": {"Labels": {"a.b/c": "x"}},
    "Networks": {"kind": {"IPAddress": "10.0.0.1"}, "bridge": {"IPAddress": ""}},
    "Ports": {"80/tcp": [{"HostPort": "8080"}]},
    "Mounts": [{"Destination": '/q"'}, {"Destination": "/r"}],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{{.Id}}/{{ .Id }}", "0123/0123"),
        ("{{.State.Running}}", "true"),
        ("{{json .State.Running}}", "true"),
        ("{{json .Missing}}", "null"),
        ("{{.Missing}}", "<no value>"),
        ('{{index .Config.Labels "a.b/c"}}', "x"),
        ('{{json (index .Config.Labels "none")}}', '""'),
        ("{{range $n, $e := .Networks}}{{$n}}={{$e.IPAddress}};{{end}}.", "bridge=;kind=10.0.0.1;."),
        ("{{range $i, $m := .Mounts}}{{$i}}{{json $m.Destination}} {{end}}", '0"/q\\"" 1"/r" '),
        ("{{range $i, $m := .Missing}}x{{end}}", ""),
        (
            "{{range $n, $e := .Networks}}{{range $i, $m := .Mounts}}{{$n}}{{$i}} {{end}}{{end}}",
            "bridge0 bridge1 kind0 kind1 ",
        ),
    ],
)
def test_templates_print_as_in_go(template: str, text: str) -> None:
    assert render(template, DOCUMENT) == text


@pytest.mark.parametrize("template", ["{{nosuch .Id}}", "{{range $a, $b := .Mounts}}", "{{}}"])
def test_what_is_not_supported_is_an_error(template: str) -> None:
    with pytest.raises(UnknownTemplate):
        render(template, DOCUMENT)
