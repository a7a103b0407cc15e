"""python -m aetool, and the program itself: the first moments, when the commands are imported."""

import signal
import sys


def main() -> None:
    """Run the command line; Ctrl-C before it is there ends in one line as well."""
    try:
        from aetool.cli import app

        app.main()
    except KeyboardInterrupt as error:
        print("aetool: error: interrupted", file=sys.stderr)
        # SIGTERM's handler gives its number, and may be there before the command line is.
        sys.exit(128 + (error.args[0] if error.args else signal.SIGINT))


if __name__ == "__main__":
    main()
