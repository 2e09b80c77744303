"""``python -m corpuskit.cli``: the command where its script is not on the path."""

from corpuskit.cli import main

if __name__ == "__main__":
    main()
