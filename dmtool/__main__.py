"""`python -m dmtool`, and `accelerate launch -m dmtool`."""

from dmtool.cli import main

if __name__ == "__main__":
    main()
