"""The training job of the policy: reads what it was given, trains, registers.

The server starts it, says in its environment what to train on, and takes the candidate from
there: to the gate, and into a rollout. The gate asks the model's server itself, so nothing needs
to be scored here.
"""

from __future__ import annotations

import driftline
import driftline.training
import pandas as pd
from late_model import LateModel


def register(store, model: str, trained: LateModel, datasets, address: str, tags=None):
    """Logs a run with the model's file, makes a version of it and says where it answers."""
    with driftline.init(project=model) as run:
        for dataset in datasets:
            run.use_dataset(dataset)
        run.log_artifact(trained, name="model/model.joblib")
    version = store.register_model(model, run.id, "model/model.joblib", tags=tags)
    name = f"{model}-{version.version}"
    return store.serve_model_at(
        model, version.version, address, name=name, service="delay_model", timeout="1m"
    )


def dataset_of(store, text: str):
    """Returns the dataset that NAME@VERSION means."""
    name, _, version = text.removeprefix("dataset/").partition("@")
    return store.dataset(name, int(version))


def main() -> None:
    with driftline.training.job() as job:
        first = dataset_of(job.store, job.parameters["first"])
        since = job.dataset("train").to_pandas().dropna(subset=["late"])
        rows = pd.concat([first.to_df(), since], ignore_index=True)
        candidate = register(
            job.store,
            job.model,
            LateModel.fit(rows),
            [first, dataset_of(job.store, job.dataset_ref)],
            job.parameters["serve"],
            tags=job.tags,
        )
        print(f"{candidate.ref}: {len(first.to_df()):,} flights as before and {len(since):,} since")
        job.report(candidate, rows=len(rows))


if __name__ == "__main__":
    main()
