"""The shells: the script for each, and the format in which it takes the completions.

A script runs pgtop with the line typed so far, up to the cursor, and reads one completion a line: its kind,
its text and its description, with tabs in between. A file's line has the text before its path, and the path.
Bash, which reads two tabs as one, gets no description and nothing before the path.
"""

import os
import re
from typing import ClassVar, Final

from click.shell_completion import CompletionItem, ShellComplete, split_arg_string

from pgtop.commands.completion.variables import BREAKS, LINE
from pgtop.core.text import printable

_ASSIGNMENT: Final = re.compile(r"\w+=")
_FILE: Final = "file"
_PLAIN: Final = "plain"

_BASH: Final = """\
# Completion of pgtop for bash. To load it in every shell, add this line to ~/.bashrc:
#   eval "$(pgtop completion bash)"
_pgtop_completion() {
    local kind text path
    COMPREPLY=()
    while IFS=$'\\t' read -r kind text; do
        if [[ $kind == file ]]; then
            compopt -o filenames 2>/dev/null
            while IFS= read -r path; do COMPREPLY+=("$path"); done < <(compgen -f -- "$text")
        else
            COMPREPLY+=("$text")
        fi
    done < <(_PGTOP_LINE="${COMP_LINE:0:$COMP_POINT}" _PGTOP_BREAKS="$COMP_WORDBREAKS" \\
        _PGTOP_COMPLETE=bash "$1" 2>/dev/null)
}
complete -o nosort -F _pgtop_completion pgtop 2>/dev/null || complete -F _pgtop_completion pgtop
"""

_ZSH: Final = """\
#compdef pgtop
# Completion of pgtop for zsh. To load it in every shell, add this line to ~/.zshrc, after compinit:
#   eval "$(pgtop completion zsh)"
_pgtop() {
    local each
    local -a parts described
    for each in "${(@f)$(_PGTOP_LINE="${words[1,CURRENT-1]} $PREFIX" _PGTOP_COMPLETE=zsh \\
        ${~words[1]} 2>/dev/null)}"; do
        parts=("${(@ps:\\t:)each}")
        case $parts[1] in
            file)
                [[ -n $parts[2] ]] && compset -P '*='
                _files
                ;;
            plain) described+=("${parts[2]//:/\\\\:}:$parts[3]") ;;
        esac
    done
    (( $#described )) && _describe -V pgtop described
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _pgtop "$@"
else
    compdef _pgtop pgtop
fi
"""

_FISH: Final = """\
# Completion of pgtop for fish. To load it in every shell:
#   pgtop completion fish > ~/.config/fish/completions/pgtop.fish
function __pgtop_complete
    set -l program (commandline -opc)[1]
    set -l line (commandline -cp | string join ' ')
    for each in (env _PGTOP_LINE="$line" _PGTOP_COMPLETE=fish $program 2>/dev/null)
        set -l parts (string split \\t -- $each)
        if test $parts[1] = file
            for path in (__fish_complete_path $parts[3])
                echo -- $parts[2]$path
            end
        else
            echo -- $parts[2]\\t$parts[3]
        end
    end
end
complete --command pgtop --no-files --arguments '(__pgtop_complete)'
"""


class _Shell(ShellComplete):
    """A shell that gives the line as it was typed, and inserts whole words."""

    source_template: ClassVar[str]

    def source(self) -> str:
        """Return the script."""
        return self.source_template

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor's, without the program's name, and the cursor's own."""
        line = os.environ.get(LINE, "")
        words = split_arg_string(line)
        if not words or line[-1:].isspace():
            words.append("")
        while len(words) > 1 and _ASSIGNMENT.match(words[0]):
            words.pop(0)
        return words[1:-1], words[-1]

    def format_completion(self, item: CompletionItem) -> str:
        """Return the line of a completion."""
        before, typed = _parted(self.get_completion_args()[1])
        if item.type == _FILE:
            return f"{_FILE}\t{before}\t{typed}"
        return f"{_PLAIN}\t{before}{item.value}\t{printable(item.help or '')}"


class Bash(_Shell):
    """The shell that splits words at `=`, `:` and `@` as well, and inserts the part after the last."""

    name = "bash"
    source_template = _BASH

    def format_completion(self, item: CompletionItem) -> str:
        """Return the line of a completion."""
        before, typed = _parted(self.get_completion_args()[1])
        if item.type == _FILE:
            return f"{_FILE}\t{typed}"
        breaks = set(os.environ.get(BREAKS, "")) - set("\"'")
        # Readline breaks before `@` and `$`, and after the others.
        starts = (at + (letter not in "@$") for at, letter in enumerate(before + typed) if letter in breaks)
        return f"{_PLAIN}\t{f'{before}{item.value}'[max(starts, default=0) :]}"


class Zsh(_Shell):
    """The shell whose completions have descriptions."""

    name = "zsh"
    source_template = _ZSH


class Fish(_Shell):
    """The shell that shows descriptions beside the completions as well."""

    name = "fish"
    source_template = _FISH


SHELLS: Final[dict[str, type[_Shell]]] = {shell.name: shell for shell in (Bash, Zsh, Fish)}


def _parted(word: str) -> tuple[str, str]:
    """Return an option with its `=`, and the value typed after it.

    >>> _parted("--theme=da"), _parted("@prod")
    (('--theme=', 'da'), ('', '@prod'))
    """
    name, sign, value = word.partition("=")
    return (name + sign, value) if sign and name.startswith("-") else ("", word)
