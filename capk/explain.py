"""`capk explain`: explains the reason of a condition, without a network."""

from collections.abc import Iterator

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from capk.diagnosis import reasons
from capk.diagnosis.reasons import Page

_CODE = r"`[^`]+`"


def print_page(page: Page, console: Console) -> None:
    """Print the page of a reason: headings and colours on a terminal, otherwise plain lines that do not wrap."""
    parts = list(_parts(page))
    if not console.is_terminal:
        lines = [str(page.reason), page.meaning, *(line for title, text in parts for line in ("", f"{title}:", text))]
        console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
        return
    blocks = [Group(Text(title, style="bold"), Padding(_marked_up(text), (0, 0, 1, 2))) for title, text in parts]
    console.print(Text(page.reason, style="bold cyan"), _marked_up(page.meaning), Text(), *blocks, sep="\n")


def print_list(console: Console) -> None:
    """Print all reasons with their meanings, by group: a table on a terminal, otherwise one line for each."""
    for group, pages in reasons.PAGES.items():
        if not console.is_terminal:
            for page in pages:
                console.print(f"{page.reason:26}{page.meaning}", markup=False, highlight=False, soft_wrap=True)
            continue
        table = Table(title=str(group), title_justify="left", title_style="bold", box=None, pad_edge=False)
        table.show_header = False
        table.add_column(style="cyan", no_wrap=True, min_width=24)
        table.add_column()
        for page in pages:
            table.add_row(str(page.reason), _marked_up(page.meaning))
        console.print(table, Text(), sep="")


def unknown(name: str) -> str:
    """Return the message for a name that is not a reason, with the names that are most like it."""
    guesses = reasons.nearest(name)
    hint = f"Did you mean {' or '.join(guesses)}?" if guesses else "`capk explain` lists all reasons."
    return f"{name!r} is not a reason of a condition. {hint}"


def _parts(page: Page) -> Iterator[tuple[str, str]]:
    yield "Cause", page.cause
    yield "What to do", page.remedy
    if page.see:
        yield "See also", ", ".join(f"`capk explain {reason}`" for reason in page.see)


def _marked_up(text: str) -> Text:
    marked = Text(text)
    marked.highlight_regex(_CODE, "green")
    return marked
