"""The `g2is` command, and `python -m g2is`: signals are heeded before anything that takes time is imported."""

from g2is.cli.stopping import stop_at_once


def main() -> None:
    """Run the command line and exit."""
    stop_at_once()
    from g2is.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
