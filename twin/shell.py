"""What every command of `twin` is made of: the group, the home folder, JSON or text, a progress bar, errors as one line."""

from __future__ import annotations

import functools
import json
import logging
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from twin import __version__
from twin.errors import BadInput, BadOption, NotFound, TwinError

INTERRUPTED = "Interrupted. A job that was running is dismissed, and the same command begins it anew; one ended with SIGTERM (kill PID) is taken up again where it was last saved."

Listener = Callable[[str, float, str], None]


class Shell:
    """What every command gets: the home folder, whether to speak JSON, and a progress bar."""

    def __init__(self, home: Path | None, as_json: bool) -> None:
        self.home, self.as_json = home, as_json

    @functools.cached_property
    def settings(self) -> Any:
        """Of the city, from the command line and the environment."""
        from twin.settings import Settings  # noqa: PLC0415

        return Settings.from_environment(self.home)

    @functools.cached_property
    def city(self) -> Any:
        """The city, opened on first use."""
        from twin.city import City  # noqa: PLC0415  keeps `twin --help` quick

        return City(self.settings)

    def say(self, value: Any, text: str | None = None) -> None:
        """Print a result: JSON with --json, else `text` (or the JSON, indented)."""
        if self.as_json or text is None:
            click.echo(json.dumps(value, ensure_ascii=False, indent=None if self.as_json else 2, default=str))
        else:
            click.echo(text)

    @contextmanager
    def progress(self) -> Any:
        """A progress bar on stderr; silent with --json or when stderr is not a terminal."""
        if self.as_json or not sys.stderr.isatty():
            yield None
            return
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        columns = (TextColumn("{task.fields[stage]:>10}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=1.0, stage="")

            def listen(stage: str, fraction: float, message: str) -> None:
                bar.update(task, completed=fraction, description=message, stage=stage)

            yield listen


def command(name: str | None = None) -> Callable[[Callable[..., None]], click.Command]:
    """A subcommand with --home and --json, whose TwinErrors become one line on stderr and an exit status."""

    def wrap(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def run(home: Path | None, as_json: bool, **values: Any) -> None:
            shell = Shell(home or click.get_current_context().find_root().params.get("home"), as_json)
            try:
                function(shell, **values)
            except TwinError as error:
                _say_error(error, as_json)
                sys.exit(2 if isinstance(error, BadInput) else 1)
            except KeyboardInterrupt:
                click.echo(INTERRUPTED, err=True)
                sys.exit(130)
            except Exception as error:  # noqa: BLE001  a traceback is for the log, not for a user
                if isinstance(error, FileNotFoundError) and str(shell.settings.home / "lake") in str(error):
                    _say_error(NotFound("A file of the city is gone: garbage was collected while this command read it.", "Run the command again; twin gc with a longer --grace keeps what was shown a while ago."), as_json)
                    sys.exit(1)
                _report_bug(shell, error)
                sys.exit(3)

        run = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")(run)
        run = click.option("--home", type=click.Path(path_type=Path, file_okay=False), help="Folder of the city (else TWIN_HOME, else ./city).")(run)
        return main.command(name)(run)

    return wrap


def _say_error(error: TwinError, as_json: bool) -> None:
    """An error and what to do about it, on one line of JSON or on two of text."""
    if as_json:
        click.echo(json.dumps({"error": {"type": type(error).__name__, "message": error.message, "remedy": error.remedy}}, ensure_ascii=False))
        return
    click.secho(f"Error: {error.message}", fg="red", err=True)
    if error.remedy:
        click.echo(f"       {error.remedy}", err=True)


def _report_bug(shell: Shell, error: Exception) -> None:
    """Say that this is our mistake, and where its details were written."""
    import tempfile  # noqa: PLC0415
    import traceback  # noqa: PLC0415

    with tempfile.NamedTemporaryFile("w", prefix="twin-error-", suffix=".log", delete=False, encoding="utf-8") as file:
        file.write("".join(traceback.format_exception(error)))
    message = f"Internal error ({type(error).__name__}: {error}). This is a mistake of the program; the details are in {file.name}."
    if shell.as_json:
        click.echo(json.dumps({"error": {"type": "InternalError", "message": message, "remedy": "Please report it."}}, ensure_ascii=False))
    else:
        click.secho(f"Error: {message}", fg="red", err=True)
        click.echo("       Please report it.", err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="twin")
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), help="Folder of the city (else TWIN_HOME, else ./city).")
def main(home: Path | None) -> None:  # noqa: ARG001  read by the commands from the context
    """Wuyi Twin (五邑孪生): one versioned, queryable 3D city."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")


def pairs(values: tuple[str, ...], what: str) -> dict[str, str]:
    """Texts of the form name=value; `what` is the option that they were given with. BadOption where one is not of that form, or two differ."""
    found: dict[str, str] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise BadOption(f"{what} {text!r} is not of the form name=value.", f"For example {what} height=floors_m")
        name = name.strip().replace("-", "_")
        if found.setdefault(name, value) != value:
            raise BadOption(f"{what} {name} is given twice: {found[name]!r} and {value!r}.", "Say it once.")
    return found


def text_of(name: str, value: str) -> str:
    """A parameter's value; `@FILE` stands for the text of a file (a rain or tide series)."""
    if not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadOption(f"{name}: the file {value[1:]} cannot be read as UTF-8 text ({error}).", "Check the path and its encoding.") from error
