"""python -m aetool."""

from aetool.cli.app import main

main()
