"""python -m aetool, and the program itself: the first moments, when the commands are imported."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C before it is there ends in one line as well."""
    try:
        from aetool.cli import app

        app.main()
    except KeyboardInterrupt:
        print("aetool: error: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
