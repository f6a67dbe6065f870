"""What a drift result means in words, for the examples."""

import itertools
import json

# A column that fell, and one that rose.
IN_WORDS = {
    "temp": ("colder", "warmer"),
    "dewp": ("drier air", "moister air"),
    "humid": ("drier air", "more humid"),
    "pressure": ("lower pressure", "higher pressure"),
    "wind_speed": ("less wind", "more wind"),
    "wind_gust": ("weaker gusts", "stronger gusts"),
    "visib": ("worse sight", "better sight"),
    "dep_delay": ("flights leave more punctually", "flights leave later"),
    "dep_delay_mean_1h": ("departures of the last hour more punctual", "later in the last hour"),
    "dep_delay_mean_1d": ("airports more punctual", "airports later"),
    "arr_delay_mean_1d": ("carriers more punctual the day before", "carriers later the day before"),
    "arr_delay_mean_7d": ("carriers more punctual", "carriers later"),
}


def in_words(row: dict) -> str:
    """Says which way a column went, by the means of its histograms, and how far."""
    histogram = json.loads(row["details"])["histogram"]
    edges = histogram["edges"]
    middles = [(low + high) / 2 for low, high in itertools.pairwise(edges)]

    def mean(side: str) -> float:
        counts = histogram[side]
        return sum(m * n for m, n in zip(middles, counts, strict=True)) / sum(counts)

    name = row["column"]
    fell, rose = IN_WORDS.get(name, (f"{name} lower", f"{name} higher"))
    return f"{rose if mean('current') > mean('reference') else fell} ({row['effect']:.2f})"
