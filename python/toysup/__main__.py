"""``python -m toysup``: the command line."""

from toysup.cli import program

if __name__ == "__main__":
    program()
