"""A peer whose runs do not end."""

import time


class Peer:
    modules = ()

    def __init__(self, config):
        pass

    def run(self, check):
        time.sleep(600)
