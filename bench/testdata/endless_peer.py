"""A peer whose runs do not end, nor its preparation if it is told so."""

import time


class Peer:
    modules = ()

    def __init__(self, config):
        if config == "prepare":
            self.run(check=False)

    def run(self, check):
        time.sleep(600)
