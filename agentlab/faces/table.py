"""The command table: which verbs there are, and what they are given by the face that calls them."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import click

from agentlab.errors import BadRequest

from .values import Words

if TYPE_CHECKING:
    from agentlab.client import Lab, Run
    from agentlab.client.rows import Tables


class Face(Protocol):
    """Where a command was given: a notebook or a shell."""

    cell: str | None
    """The body of the cell, where there is one: a task"""

    stays: bool
    """Whether this process goes on after the command, so that it can renew what it holds"""

    def lab(self) -> Lab: ...

    def peek(self) -> Tables:
        """What is now, for completion: quick, never starts a plane, {} where there is none."""

    def current_run(self, workdir: str | None) -> Run | None:
        """The run that agents are spawned into when none is named; None: each gets one of its own."""


class Table(click.Group):
    """The verbs of a face. Mistakes are BadRequest with what there is; help is a value, not a print."""

    aliases: Mapping[str, str] = {}
    """Other names of commands, which no list has."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, self.aliases.get(cmd_name, cmd_name))

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of the table: what is used most comes first

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:  # a shell's question; a notebook's is answered before it comes here
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and self.get_command(ctx, name) is None:
            there = self.list_commands(ctx)
            raise BadRequest(
                f"{self.name} has no command {name!r}.{_perhaps(name, there)} There are: {', '.join(there)}."
            )
        return super().resolve_command(ctx, args)


def parse(table: Table, args: Sequence[str], face: Face) -> Any:
    """Do what `args` says and return what comes of it. Raises BadRequest for what cannot be understood."""
    if not args or args[0] in ("-h", "--help", "help"):
        with click.Context(table, info_name=table.name) as ctx:
            return Words(table.get_help(ctx))
    if any(arg in ("-h", "--help") for arg in args[1:]) and (command := table.commands.get(args[0])) is not None:
        with click.Context(command, info_name=f"{table.name} {args[0]}") as ctx:
            return Words(command.get_help(ctx))
    try:
        # Not `table.main`: that turns Ctrl-C into an exception of click's own, and prints.
        with table.make_context(table.name, list(args), obj=face) as ctx:
            return table.invoke(ctx)
    except click.ClickException as error:
        raise BadRequest(explained(error)) from None


TEXTS = ("task", "text")
"""Arguments that may be any words."""


def explained(error: click.ClickException) -> str:
    """What was wrong with an option or an argument, and which ones exist."""
    text = error.format_message()
    command = error.ctx.command if isinstance(error, click.UsageError) and error.ctx is not None else None
    if command is None:
        return text
    options = [option for param in command.params if isinstance(param, click.Option) for option in param.opts]
    if isinstance(error, click.NoSuchOption):
        text = f"{command.name} has no option {error.option_name}.{_perhaps(error.option_name, options)}"
        texts = [param.name for param in command.params if isinstance(param, click.Argument) and param.name in TEXTS]
        behind = f" A {texts[0]} that begins with '-' stands behind `--`, as the last thing." if texts else ""
        return f"{text}{behind} There are: {', '.join(sorted(options))}."
    return f"{command.name}: {text}"


def _perhaps(word: str, there: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, there, n=1)
    return f" Did you mean {close[0]}?" if close else ""


def table_for(name: str, verbs: Sequence[click.Command], *more: Callable[[], click.Option], help: str) -> Table:
    """A face's table: the verbs with its own options at the end of each."""
    table = Table(
        name=name, help=help, add_help_option=False, no_args_is_help=False, context_settings={"max_content_width": 100}
    )
    for verb in verbs:
        own = copy.copy(verb)
        own.params = [*verb.params, *(option() for option in more)]
        own.add_help_option = False
        table.add_command(own)
    return table
