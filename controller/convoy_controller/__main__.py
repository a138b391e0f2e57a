"""`python -m convoy_controller` is `convoy`."""

from convoy_controller.cli import main

if __name__ == "__main__":
    main()
