"""Launcher: live trading. The same as `tarazu live`; arguments are passed on."""

import sys

from tarazu.cli import main

if __name__ == "__main__":
    main(["live", *sys.argv[1:]])
