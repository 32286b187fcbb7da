"""Prints findings: a table on a terminal, plain lines elsewhere, or JSON for programs."""

import json
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from capk.doctor.checks import has_failed
from capk.doctor.finding import Finding, Status

_STYLES: Final = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILURE: "bold red", Status.SKIPPED: "dim"}
_SIGNS: Final = {Status.OK: "✓", Status.WARNING: "!", Status.FAILURE: "✗", Status.SKIPPED: "-"}


def print_findings(findings: Sequence[Finding], console: Console) -> None:
    """Print findings and remedies, then a summary."""
    if console.is_terminal:
        console.print(_table(findings))
    else:
        for finding in findings:
            console.print(_line(finding), markup=False, highlight=False, soft_wrap=True)
    console.print(Text(summary(findings), style="bold"))


def to_json(findings: Sequence[Finding], version: str) -> str:
    """Return the findings as a JSON document. version: of the provider."""
    checks = [
        {
            "check": finding.check,
            "status": str(finding.status),
            "found": finding.found,
            "remedy": finding.remedy,
            "reason": str(finding.reason or ""),
        }
        for finding in findings
    ]
    return json.dumps({"version": version, "ok": not has_failed(findings), "checks": checks}, indent=2)


def summary(findings: Sequence[Finding]) -> str:
    """Return how many checks failed or warn."""
    counts = ((sum(finding.status is status for finding in findings), status) for status in Status)
    bad = [
        f"{count} {status}{'s' if count > 1 else ''}"
        for count, status in counts
        if count and status in (Status.FAILURE, Status.WARNING)
    ]
    return f"{' and '.join(reversed(bad))}." if bad else "No problems found."


def _table(findings: Sequence[Finding]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        style = _STYLES[finding.status]
        found = Text(finding.found, style="dim" if finding.status is Status.SKIPPED else "")
        for hint in _hints(finding):
            found.append(f"\n{hint}", style="cyan")
        table.add_row(Text(_SIGNS[finding.status], style=style), Text(finding.check, style=style), found)
    return table


def _line(finding: Finding) -> str:
    hints = (f"{'':8} {hint}" for hint in _hints(finding))
    return "\n".join([f"{finding.status:8} {finding.check}: {finding.found}", *hints])


def _hints(finding: Finding) -> list[str]:
    more = f"See also `capk explain {finding.reason}`." if finding.reason else ""
    hint = " ".join(filter(None, (finding.remedy, more)))
    return [f"→ {hint}"] if hint else []
