"""The board's daemon: fetches, verifies, configures the fabric, runs its layers and passes the activations on."""
