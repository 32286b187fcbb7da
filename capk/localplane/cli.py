"""capk local."""

import typer

app = typer.Typer(help="A management plane without a cluster.", no_args_is_help=True)
