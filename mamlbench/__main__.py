"""`python -m mamlbench` is the command `mamlbench`."""

from mamlbench.cli.main import main

if __name__ == "__main__":
    main()
