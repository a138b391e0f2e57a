"""`python -m convoy_controller.cli`: the same as `convoy`, for processes that start one another."""

from convoy_controller.cli import main

main()
