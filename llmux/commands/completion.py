# -*- test-case-name: llmux.test.test_commands_completion -*-
# mypy: allow-untyped-calls
"""
C{llmux completion}: has shells complete commands, options and models.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import TextIO

from twisted.python import usage

from llmux.commands._described import SHELLS, Described, Option, described
from llmux.commands._options import CommandOptions, command

__all__ = ["main"]

#: Prints the names of models, a line each, or nothing.
_NAMES = "llmux status --names 2>/dev/null"


class CompletionOptions(CommandOptions):
    """
    The options of C{llmux completion}.
    """

    synopsis = "llmux completion [options] SHELL"
    longdesc = (
        "Prints a script by which bash, zsh or fish complete commands, options and, "
        "if llmux runs where they look for it, the names of models."
    )
    examples = (
        ('eval "$(llmux completion bash)"', "In ~/.bashrc."),
        ('eval "$(llmux completion zsh)"', "In ~/.zshrc, after compinit."),
        ("llmux completion fish | source", "In ~/.config/fish/config.fish."),
    )

    def parseArgs(self, *shells: str) -> None:
        """
        Take the name of the shell.

        @raise usage.UsageError: it is not one of those.
        """
        if len(shells) != 1 or shells[0] not in SHELLS:
            raise usage.UsageError(f"name one shell: {', '.join(SHELLS)}")
        self["shell"] = shells[0]


def main(arguments: Sequence[str]) -> int:
    """
    Print a script.

    @return: the exit status.
    """
    return command(CompletionOptions(), arguments, _complete)


def _complete(options: CompletionOptions, output: TextIO) -> None:
    print(_MAKERS[options["shell"]](described()), end="", file=output)


def _bash(commands: Sequence[Described]) -> str:
    serve, *named = commands
    cases = []
    for one in commands:
        words = [f"--{option.name}" for option in one.options]
        if one is serve:
            words = [*(other.name for other in named), *words]
        elif one.operand == "shell":
            words = [*SHELLS, *words]
        lines = [f"words={shlex.quote(' '.join(words))}"]
        if one.operand == "model":
            lines.append(f"mapfile -t offered < <({_NAMES})")
        elif one.operand == "folder":
            lines.append("kind=folder")
        cases.append(
            f"    {one.name or chr(34) * 2})\n" + _indented(lines) + "        ;;"
        )
    return _BASH.format(
        names="|".join(one.name for one in named),
        files="|".join(_spelt(commands, lambda option: option.isFile)),
        values="|".join(
            _spelt(commands, lambda option: option.takes and not option.isFile)
        ),
        cases="\n".join(cases),
    )


def _zsh(commands: Sequence[Described]) -> str:
    serve, *named = commands
    listed = [f"{one.name}:{one.summary}" for one in named]
    cases = []
    for one in named:
        operand = {
            "model": "1:model:_llmux_models",
            "shell": f"1:shell:({' '.join(SHELLS)})",
            "folder": "1:folder:_files -/",
        }.get(one.operand, "")
        cases.append(
            f"        {one.name})\n"
            + _indented([_arguments(one.options, operand)], 12)
            + "            ;;"
        )
    return _ZSH.format(
        commands="\n".join(f"        {shlex.quote(one)}" for one in listed),
        serve=_arguments(serve.options),
        cases="\n".join(cases),
        names=_NAMES,
    )


def _arguments(options: Iterable[Option], operand: str = "") -> str:
    words = [shlex.quote(operand)] if operand else []
    for option in options:
        # What is special to _arguments: brackets, colons and its own quoting.
        text = option.text.replace("\\", "\\\\")
        for special in "[]:":
            text = text.replace(special, f"\\{special}")
        value = f":value:{'_files' if option.isFile else ' '}" if option.takes else ""
        equals = "=" if option.takes else ""
        words.append(shlex.quote(f"--{option.name}{equals}[{text}]{value}"))
        if option.short:
            plus = "+" if option.takes else ""
            words.append(shlex.quote(f"-{option.short}{plus}[{text}]{value}"))
    return " \\\n    ".join(["_arguments -s -S", *words])


def _fish(commands: Sequence[Described]) -> str:
    lines = ["complete -c llmux -f"]
    for one in commands:
        when = (
            f"__fish_seen_subcommand_from {one.name}"
            if one.name
            else "__fish_use_subcommand"
        )
        start = f"complete -c llmux -n {_fished(when)}"
        if one.name:
            lines.append(
                "complete -c llmux -n __fish_use_subcommand "
                f"-a {one.name} -d {_fished(one.summary)}"
            )
        for option in one.options:
            line = f"{start} -l {option.name}"
            if option.short:
                line += f" -s {option.short}"
            if option.takes:
                line += " -r -F" if option.isFile else " -x"
            lines.append(f"{line} -d {_fished(option.text)}")
        if one.operand == "model":
            lines.append(f"{start} -a {_fished(f'({_NAMES})')}")
        elif one.operand == "shell":
            lines.append(f"{start} -a {_fished(' '.join(SHELLS))}")
        elif one.operand == "folder":
            lines.append(f"{start} -a '(__fish_complete_directories)'")
    return "\n".join([*lines, ""])


def _fished(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _indented(lines: Iterable[str], by: int = 8) -> str:
    return "".join(f"{' ' * by}{line}\n" for line in lines)


def _spelt(
    commands: Iterable[Described], isMeant: Callable[[Option], bool]
) -> list[str]:
    """
    All ways to spell some options.
    """
    found: dict[str, None] = {}
    for one in commands:
        for option in filter(isMeant, one.options):
            found[f"--{option.name}"] = None
            if option.short and all(
                isMeant(other)
                for each in commands
                for other in each.options
                if other.short == option.short
            ):
                found[f"-{option.short}"] = None
    return list(found)


_MAKERS = {"bash": _bash, "zsh": _zsh, "fish": _fish}

_BASH = """\
# Completion of llmux for bash, made by: llmux completion bash
_llmux() {{
    # Names of models may have colons, at which bash breaks words.
    local line=${{COMP_LINE:0:COMP_POINT}}
    local current=${{line##*[[:space:]]}} before command='' words='' kind='' word
    local -a given offered=() more
    read -ra given <<<"${{line%"$current"}}"
    before=${{given[${{#given[@]}}-1]}}
    for word in "${{given[@]:1}}"; do
        case $word in
        {names})
            command=$word
            break
            ;;
        esac
    done
    COMPREPLY=()
    case $before in
    {files})
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    {values})
        return
        ;;
    esac
    case $command in
{cases}
    esac
    if [[ $kind = folder && $current != -* ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$current")
        return
    fi
    # Not by compgen, which would run what looks like a command in a name.
    read -ra more <<<"$words"
    for word in "${{offered[@]}}" "${{more[@]}}"; do
        if [[ $word = "$current"* ]]; then
            COMPREPLY+=("$word")
        fi
    done
    if [[ $current = *:* && $COMP_WORDBREAKS = *:* ]]; then
        COMPREPLY=("${{COMPREPLY[@]#"${{current%"${{current##*:}}"}}"}}")
    fi
}}
complete -F _llmux llmux
"""

_ZSH = """\
#compdef llmux
# Completion of llmux for zsh, made by: llmux completion zsh
_llmux_models() {{
    local -a names
    names=("${{(@f)$({names})}}")
    compadd -a names
}}
_llmux() {{
    local -a commands
    commands=(
{commands}
    )
    if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then
        _describe command commands
        return
    fi
    local command=$words[2]
    if (( $+commands[(r)$command:*] )); then
        shift words
        (( CURRENT-- ))
    fi
    case $command in
{cases}
        *)
            {serve}
            ;;
    esac
}}
if [[ $funcstack[1] = _llmux ]]; then
    _llmux "$@"
else
    compdef _llmux llmux
fi
"""
