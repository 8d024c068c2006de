"""Launcher: paper trading. The same as `tarazu paper`; arguments are passed on."""

import sys

from tarazu.cli import main

if __name__ == "__main__":
    main(["paper", *sys.argv[1:]])
