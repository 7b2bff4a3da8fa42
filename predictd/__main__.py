"""`python -m predictd`."""

from predictd.cli import main

main()
