"""SQL: features, datasets and what is known of them, by the ADBC driver."""

import driftline
import pytest


def test_features_are_tables(filled):
    answer = filled.store.sql(
        f"SELECT station, max(count) AS most FROM features.{filled.name} GROUP BY 1 ORDER BY 1"
    )
    assert answer.to_pydict() == {"station": ["a", "b"], "most": [3, 4]}


def test_the_catalogue_is_a_table(filled):
    views = filled.store.sql("SELECT name FROM meta.views")["name"].to_pylist()
    assert filled.name in views


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM features.weather",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_csv('/etc/passwd')",
        "ATTACH 'x.db'",
        "SELEC 1",
    ],
)
def test_only_one_select_over_our_tables(store, query):
    with pytest.raises((driftline.InvalidError, driftline.PermissionDeniedError)):
        store.sql(query)


def test_mistakes(store):
    with pytest.raises(TypeError, match="SELECT"):
        store.sql(None)
