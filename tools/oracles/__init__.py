"""What the oracle scripts in ``tools/`` share: networks and their exact answers by other means than Aleator's."""
