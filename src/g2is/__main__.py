"""`python -m g2is` is the `g2is` command."""

from g2is.cli.app import main

if __name__ == "__main__":
    main()
