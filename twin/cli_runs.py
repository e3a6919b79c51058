"""The commands `twin run`, `twin compare` and `twin jobs`; imported by `twin.commands`, which has the others."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click

from twin.errors import BadOption
from twin.shell import Shell, command, pairs, text_of


@command("run")
@click.argument("scenario", required=False)
@click.option("--set", "values", multiple=True, metavar="NAME=VALUE", help="Parameter; repeatable. @FILE as the value takes the text of a file.")
@click.option("--name", help="Name of the run; its layers are called NAME-<output> (default: the scenario's name).")
@click.option("--report", "page", type=click.Path(path_type=Path, dir_okay=False), help="Write the run's report for people (HTML, self-contained) to this file.")
def run(shell: Shell, scenario: str | None, values: tuple[str, ...], name: str | None, page: Path | None) -> None:
    """Run SCENARIO on the city; without one, list the scenarios and their parameters."""
    from twin import intake, registry, running, tasks  # noqa: PLC0415

    if scenario is None:
        rows = {n: e.load().Params.model_json_schema()["properties"] for n, e in registry.scenarios().items()}
        shell.say(rows, _listing(rows))
        return
    module = registry.find(registry.scenarios(), scenario, "scenario").load()
    inputs = registry.from_text(module.Params, {key: text_of(key, value) for key, value in pairs(values, "--set").items()})
    name = scenario if name is None else name
    intake.check_layer_name(name)
    running.check_inputs(shell.city, scenario, inputs)
    params = {"scenario": scenario, "inputs": inputs, "name": name}
    with shell.progress() as listen:
        job = tasks.work(shell.city, tasks.submit(shell.city, "run", params), listen)
    result = tasks.require(job)
    if page is not None:
        running.write_page(shell.city, job, page)
    lines = [f"{output}: layer {value['layer']} version {value['version']}" for output, value in result["outputs"].items()]
    facts = result["report"].get("facts", {})
    shell.say(result, "\n".join(lines + [f"  {key} = {value}" for key, value in facts.items()]))


def _listing(scenarios: dict[str, dict[str, Any]]) -> str:
    """Every parameter of every scenario on lines of its own: what it is, its unit, what may be chosen, and what it is if left out."""
    text = click.HelpFormatter(width=max(80, min(140, shutil.get_terminal_size().columns)))
    for name, fields in scenarios.items():
        with text.section(name):
            text.write_dl([(field, _about(schema)) for field, schema in fields.items()])
    return text.getvalue().rstrip()


def _about(schema: dict[str, Any]) -> str:
    described: str = schema.get("description") or schema.get("title", "")
    described = described and described.rstrip(".") + "."
    kinds = [schema, *schema.get("anyOf", [])]
    choices = next((", ".join(map(str, kind["enum"])) for kind in kinds if "enum" in kind), "")
    default = schema.get("default")
    if "default" not in schema:
        left_out = "required"
    else:
        left_out = "" if default is None or default in ("", []) else f"default: {', '.join(map(str, default)) if isinstance(default, list) else default}"
    return " ".join(part for part in (described, f"One of {choices}." if choices else "", f"[{left_out}]" if left_out else "") if part)


@command("compare")
@click.argument("a")
@click.argument("b")
@click.option("--name", help="Publish the differences as layers NAME-depth-change, NAME-buildings-change, …; without it only the table is shown.")
def compare(shell: Shell, a: str, b: str, name: str | None) -> None:
    """What changed from run A to run B (names of runs, or job ids)."""
    from twin import comparing, intake, tasks  # noqa: PLC0415

    if name is None:
        found = comparing.compare(shell.city, a, b)
        shell.say(comparing.to_json(found), comparing.as_text(found.rows))
        return
    intake.check_layer_name(name)
    comparing.outcome(shell.city, a), comparing.outcome(shell.city, b)
    with shell.progress() as listen:
        result = tasks.require(tasks.work(shell.city, tasks.submit(shell.city, "compare", {"a": a, "b": b, "name": name}), listen))
    rows = [comparing.Row(row["quantity"], row["unit"], row["a"], row["b"]) for row in result["comparison"]["rows"]]
    lines = [f"{output}: layer {value['layer']} version {value['version']}" for output, value in result["outputs"].items()]
    shell.say(result, "\n".join([comparing.as_text(rows), *lines]))


@command("jobs")
@click.argument("job", required=False)
@click.option("--cancel", is_flag=True, help="Dismiss the job.")
def jobs(shell: Shell, job: str | None, cancel: bool) -> None:
    """List the jobs, show one, or dismiss one."""
    from dataclasses import asdict  # noqa: PLC0415

    from twin.jobs import Jobs  # noqa: PLC0415

    queue = Jobs(shell.city.catalog)
    if job is None:
        if cancel:
            raise BadOption("--cancel needs a job.", "twin jobs lists them.")
        found = queue.list()
        text = "\n".join(f"{j.id[:12]}  {j.kind:<7} {j.state:<10} {j.progress * 100:>4.0f}%  {j.stage:<10} {j.error or j.message}" for j in found)
        shell.say([asdict(j) for j in found], text or "No jobs yet.")
        return
    shell.say(asdict(queue.cancel(job) if cancel else queue.get(job)))
