"""Shell completion, where Typer's own falls short."""

import sys

# As the file ~/.zfunc/_aetool is loaded by the first TAB of a session, Typer's script only says
# which function completes, and offers nothing. When zsh has loaded it so, it shall answer as well.
_ZSH_AT_ONCE = """
[[ $funcstack[1] = _%(prog_name)s ]] && %(complete_func)s
"""


def complete_at_once() -> None:
    """Let zsh complete from the first TAB on; a Typer without these scripts is left alone."""
    scripts = getattr(sys.modules.get("typer._completion_shared"), "_completion_scripts", {})
    if "zsh" in scripts and _ZSH_AT_ONCE not in scripts["zsh"]:
        scripts["zsh"] += _ZSH_AT_ONCE
